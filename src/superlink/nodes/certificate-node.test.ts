import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { inMemory, openDatabase } from '../../db/database.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import { createBells } from '../context.ts'
import { EventLog } from '../events/event-log.ts'
import { noteRenewal } from './certificate-node.ts'
import { KnownNodes } from './known-nodes.ts'
import { newNode } from './node.ts'
import * as nodeStore from './node-store.ts'

test('a renewal is logged once, however many calls show the new certificate at the same moment', async () => {
  await using db = openDatabase({ path: inMemory })
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const node = {
    ...newNode({ id: 'site-a', name: 'site-a' }, clock.now()),
    identity: 'site-a',
    authMethod: 'certificate',
    certificateSerial: '01',
    certificateNotAfter: 1000,
  } as const
  await db.transaction((tx) => nodeStore.insert(tx, node))
  const renewed = { identity: 'site-a', organization: '', serial: '02', notAfter: 2000 } as CertificatePeer
  const events = new EventLog({ db, clock, bells: createBells(), hasWebhook: false })
  const ctx = { db, clock, log, events, knownNodes: new KnownNodes(db) }
  await Promise.all(Array.from({ length: 4 }, () => noteRenewal(ctx, node, renewed)))
  assert.equal(lines.filter((line) => JSON.stringify(line).includes('shows a new certificate')).length, 1)
  // A call over the connection with the former certificate.
  await noteRenewal(
    ctx,
    { ...node, certificateSerial: '02', certificateNotAfter: 2000 },
    { ...renewed, serial: '01', notAfter: 1000 },
  )
  assert.equal((await nodeStore.find(db.read, node.nodeId))?.certificateSerial, '02')
})
