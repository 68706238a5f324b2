import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { certificatePeer, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { limits } from '../../base/limits.ts'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { PeerIdentity } from '../../identity/caller.ts'
import type { Certificate } from '../../identity/certificate.ts'
import { CertificateEvents } from '../events/certificate-events.ts'
import { type EventType, eventTypes } from '../events/event-catalog.ts'
import type { EventLog } from '../events/event-log.ts'
import * as eventStore from '../events/event-store.ts'
import { forgetOldEvents } from '../events/forget-events.ts'
import { RefusalEvents } from '../events/refusal-events.ts'
import { setAdmission } from '../nodes/admission.ts'
import { noteRenewal } from '../nodes/certificate-node.ts'
import type { Node } from '../nodes/node.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { activateNode, deactivateNode, expireNodes, heartbeat, unregisterNode } from '../nodes/nodes.ts'
import { createControlService } from './control.ts'

const { streamEvents } = Control.method
const dayMs = 24 * 3_600_000
const schemaFile = join(import.meta.dirname, '../../../docs/reference/events.schema.json')

interface Received {
  readonly sequence: string
  readonly type: EventType
  readonly data: Readonly<Record<string, unknown>>
}

/** The events that an account sees, from one on. */
async function read(core: SuperlinkCore, peer?: PeerIdentity, afterSequence = 0n): Promise<Received[]> {
  const { connection } = openConnection(2, peer)
  const client = new InMemoryClient([createControlService(core.ctx)], { connection })
  const pages = await Array.fromAsync(client.stream(streamEvents, { afterSequence }))
  return pages.flatMap(({ events }) => events.map(({ json }) => JSON.parse(json) as Received))
}

const typesOf = (events: readonly Received[]): EventType[] => events.map(({ type }) => type)

test('what happens to runs, SuperNodes and certificates is an event each, as the schema says', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const { runId } = await core.run({ owner: 'alice' })
  await core.stop(runId)
  const byKey = await core.join('key')
  clock.advance(61_000)
  await expireNodes(ctx)
  await core.join('key')
  await deactivateNode(ctx, byKey)
  const peer = certificatePeer('site-a', { organization: 'Hospital A', notAfter: clock.now() + 20 * dayMs })
  const speaker = { connection: openConnection(3, peer).connection, process: undefined }
  const credential = { kind: 'certificate', peer, provenKey: undefined } as const
  const nodeId = await activateNode(ctx, credential, { publicKey: 'a', heartbeatIntervalMs: 30_000, speaker })
  const certificates = new CertificateEvents(ctx, () => [
    'The server certificate in use is not the one in its files: no',
  ])
  const server = (serial: string) =>
    ({ serial, fingerprint: serial, subject: { text: 'CN=server' }, notAfter: clock.now() + 8 * dayMs }) as Certificate
  const kept = server('01')
  ctx.security.certificates = () => ({ server: [kept], cas: [], crls: [] })
  await certificates.lookAtFiles()
  await certificates.lookAtEnds()
  clock.advance(7 * dayMs)
  await certificates.lookAtEnds()
  const renewed = server('02')
  ctx.security.certificates = () => ({ server: [renewed], cas: [], crls: [] })
  await certificates.lookAtFiles()
  const node = (await nodeStore.find(ctx.db.read, nodeId)) as Node
  await noteRenewal(ctx, node, { ...peer, serial: '0B', notAfter: peer.notAfter + dayMs })
  await setAdmission(ctx, (await nodeStore.find(ctx.db.read, nodeId)) as Node, 'blocked')
  await unregisterNode(ctx, nodeId)
  const refusals = new RefusalEvents(clock)
  refusals.note(refusal('revoked-by-crl', 'site-q'))
  await refusals.record(ctx.events)
  const events = await read(core)
  assert.deepEqual(typesOf(events), [
    ...['run.started', 'run.finished', 'node.registered', 'node.online', 'node.offline', 'node.online', 'node.offline'],
    ...[
      'node.registered',
      'node.online',
      'certificate.renewal-failing',
      'certificate.expiring',
      'certificate.expiring',
    ],
    ...['certificate.renewed', 'certificate.renewed', 'node.offline', 'node.admission', 'node.unregistered'],
    ...['certificate.revoked', 'peer.refused'],
  ])
  const isValid = new Ajv2020({ strict: false }).compile(JSON.parse(readFileSync(schemaFile, 'utf8')) as object)
  for (const event of events) assert.ok(isValid(event), `${JSON.stringify(event)} ${JSON.stringify(isValid.errors)}`)
  // Each type was seen, with no field that the schema does not name.
  assert.deepEqual([...new Set(typesOf(events))].sort(), Object.keys(eventTypes).sort())
  for (const { type, data } of events) {
    const { required, optional = [] }: { required: readonly string[]; optional?: readonly string[] } = eventTypes[type]
    for (const name of Object.keys(data)) assert.ok([...required, ...optional].includes(name), `${type}: ${name}`)
  }
  assert.ok(!isValid({ ...events[0], data: {} }))
  assert.equal(events.at(-1)?.data.count, 1)
})

function refusal(reason: 'revoked-by-crl' | 'unknown-ca', identity: string, port = 4000) {
  const peer = { kind: 'refused', reason, sentence: `${identity} is refused.`, identity, serial: '0C' } as const
  return {
    listener: 'Fleet API',
    method: 'connect',
    peerAddress: `10.8.0.7:${port}`,
    peer,
    decision: 'refuse',
  } as const
}

test('an account sees the events of its runs, an admin all of them, and a cursor resumes after an event', async () => {
  await using core = await SuperlinkCore.start()
  await core.join('node')
  await core.run({ owner: 'alice' })
  await core.run({ owner: 'bob' })
  const mine = await read(core, certificatePeer('alice'))
  assert.deepEqual(
    mine.map(({ type, data }) => [type, data.account]),
    [['run.started', 'alice']],
  )
  const roles = new Set(['cli', 'admin'] as const)
  const everything = await read(core, certificatePeer('root', { roles, runs: 'all' }))
  assert.deepEqual(typesOf(everything), ['node.registered', 'node.online', 'run.started', 'run.started'])
  // An account that sees all runs is no admin: SuperNodes and refusals are not shown to it.
  assert.deepEqual(typesOf(await read(core, certificatePeer('eve', { runs: 'all' }))), ['run.started', 'run.started'])
  const resumed = await read(core, undefined, BigInt(everything[1]?.sequence ?? 0))
  assert.deepEqual(resumed, everything.slice(2))
})

test('a follower gets each event once as it happens, until its certificate is refused', async () => {
  await using core = await SuperlinkCore.start()
  const { connection } = openConnection(2, certificatePeer('alice'))
  const client = new InMemoryClient([createControlService(core.ctx)], { connection })
  const stream = client.stream(streamEvents, { follow: true })
  assert.deepEqual((await stream.next()).value?.events, [])
  const next = stream.next()
  const { runId } = await core.run({ owner: 'alice' })
  assert.match((await next).value?.events[0]?.json ?? '', /"run.started"/)
  const last = stream.next()
  await core.stop(runId)
  assert.match((await last).value?.events[0]?.json ?? '', /"run.finished"/)
  // Listened to from the start: it rejects while the run is being started.
  const refused = assert.rejects(stream.next(), { code: 'certificate-refused' })
  const { peer } = refusal('revoked-by-crl', 'alice')
  Object.assign(connection, { peer })
  await core.run({ owner: 'alice' })
  await refused
})

test('old events are forgotten by age and number, and their sequence never starts again', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  for (let run = 0; run < 3; run++) await core.run()
  clock.advance(limits.eventKeptMs + 1)
  await core.run()
  await forgetOldEvents(ctx)
  assert.deepEqual(
    (await read(core)).map(({ sequence }) => sequence),
    ['4'],
  )
  clock.advance(limits.eventKeptMs + 1)
  await forgetOldEvents(ctx)
  assert.deepEqual(await eventStore.range(ctx.db.read), { first: 4, last: 4 })
  await core.run()
  assert.deepEqual(await eventStore.range(ctx.db.read), { first: 4, last: 5 })
  await forgetOldEvents(ctx)
  assert.deepEqual(await eventStore.range(ctx.db.read), { first: 5, last: 5 })
})

test('a peer that is refused without end makes one event a minute, and many peers make few', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const refusals = new RefusalEvents(clock)
  const look = async (): Promise<unknown[]> => {
    const before = (await eventStore.range(ctx.db.read)).last
    await refusals.record(ctx.events)
    return (await read(core, undefined, BigInt(before))).map(({ data }) => [data.reason, data.identity, data.count])
  }
  refusals.note(refusal('unknown-ca', 'site-q'))
  assert.deepEqual(await look(), [['unknown-ca', 'site-q', 1]])
  for (let count = 0; count < 1000; count++) refusals.note(refusal('unknown-ca', 'site-q', 4000 + count))
  assert.deepEqual(await look(), [])
  clock.advance(60_000)
  assert.deepEqual(await look(), [['unknown-ca', 'site-q', 1000]])
  for (let peer = 0; peer < 5000; peer++) refusals.note(refusal('unknown-ca', `site-${peer}`))
  const found = await look()
  assert.ok(found.length < 300, String(found.length))
  assert.deepEqual(found.at(-1), ['unknown-ca', undefined, 5000 - 255])
})

test('a peer that takes a new name for each connection can neither fill the event log nor hide how often it comes', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const refusals = new RefusalEvents(clock)
  for (let pass = 0; pass < 5; pass++) {
    for (let peer = 0; peer < 5000; peer++) refusals.note(refusal('unknown-ca', `site-${pass}-${peer}`))
    await refusals.record(ctx.events)
    clock.advance(1000)
  }
  assert.ok((await eventStore.range(ctx.db.read)).last < 300)
  clock.advance(60_000)
  await refusals.record(ctx.events)
  const counts = (await read(core)).map(({ data }) => Number(data.count))
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    25_000,
  )
})

test('refusals that cannot be stored are stored later, with those that came meanwhile', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const refusals = new RefusalEvents(clock)
  const failing = (type: EventType): Pick<EventLog, 'recordAlone'> => ({
    recordAlone: async (...event) => {
      if (event[0] !== type) return ctx.events.recordAlone(...event)
      refusals.note(refusal('revoked-by-crl', 'site-q'))
      throw new Error('The disk is full.')
    },
  })
  refusals.note(refusal('revoked-by-crl', 'site-q'))
  await assert.rejects(refusals.record(failing('certificate.revoked')), /disk is full/)
  await assert.rejects(refusals.record(failing('peer.refused')), /disk is full/)
  await refusals.record(ctx.events)
  assert.deepEqual(
    (await read(core)).map(({ type, data }) => [type, data.count]),
    [
      ['certificate.revoked', undefined],
      ['peer.refused', 3],
    ],
  )
})

test('a certificate that lives for a day makes no event at each renewal', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const certificates = new CertificateEvents(ctx, () => [])
  for (let day = 0; day < 5; day++) {
    const own = {
      serial: `0${day}`,
      fingerprint: `${day}`,
      subject: { text: 'CN=server' },
      notAfter: clock.now() + dayMs,
    }
    ctx.security.certificates = () => ({ server: [own as Certificate], cas: [], crls: [] })
    await certificates.lookAtEnds()
    clock.advance(dayMs / 2)
    await certificates.lookAtEnds()
  }
  assert.deepEqual(await read(core), [])
  clock.advance(dayMs)
  await certificates.lookAtEnds()
  assert.match(String((await read(core))[0]?.data.sentence), /has expired .*: renew it/)
})

test('marks that time passes while the SuperLink is down are reported once, at its next start', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const own = (serial: string, lifeMs: number, sinceMs = -100 * dayMs) => ({
    ...{ serial, fingerprint: serial, subject: { text: `CN=${serial}` } },
    ...{ notBefore: clock.now() + sinceMs, notAfter: clock.now() + lifeMs },
  })
  const list = { issuerText: 'CN=ca', issuerDer: 'ca', nextUpdate: clock.now() + dayMs }
  const inUse = [own('long', 10 * dayMs), own('ended', dayMs), own('young', 4.9 * dayMs, 4 * dayMs)] as Certificate[]
  ctx.security.certificates = () => ({ server: inUse, cas: [], crls: [list as never] })
  const start = async (): Promise<void> => {
    clock.advance(1)
    await new CertificateEvents(ctx, () => []).lookAtEnds()
  }
  await start()
  await core.join('node')
  // Without a mark in between, a restart reports nothing.
  await start()
  const before = (await eventStore.range(ctx.db.read)).last
  clock.advance(4.5 * dayMs)
  await start()
  const reported = (await read(core, undefined, BigInt(before))).map(({ data }) => [data.subject, data.daysLeft])
  assert.deepEqual(reported, [
    ['CN=long', 5],
    ['CN=ended', -4],
    ['CN=ca', -4],
  ])
  await start()
  assert.equal((await eventStore.range(ctx.db.read)).last, before + reported.length)
})

test('events of certificates that cannot be stored are stored later', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const server = (serial: string) =>
    ({ serial, fingerprint: 'f', subject: { text: 'CN=server' }, notAfter: clock.now() + 8 * dayMs }) as Certificate
  let own = server('01')
  ctx.security.certificates = () => ({ server: [own], cas: [], crls: [] })
  const troubles: string[] = []
  let isFull = true
  const recordAlone: EventLog['recordAlone'] = async (...event) => {
    if (isFull) throw new Error('The disk is full.')
    return ctx.events.recordAlone(...event)
  }
  const events = Object.assign(Object.create(ctx.events), { recordAlone })
  const certificates = new CertificateEvents({ ...ctx, events }, () => troubles)
  await certificates.lookAtFiles()
  await certificates.lookAtEnds()
  clock.advance(2 * dayMs)
  const looks = [() => certificates.lookAtFiles(), () => certificates.lookAtFiles(), () => certificates.lookAtEnds()]
  own = server('02')
  own = { ...own, notAfter: own.notAfter - 2 * dayMs }
  await assert.rejects(certificates.lookAtFiles(), /disk is full/)
  await assert.rejects(certificates.lookAtEnds(), /disk is full/)
  isFull = false
  for (const look of looks) await look()
  assert.deepEqual(typesOf(await read(core)), ['certificate.renewed', 'certificate.expiring'])
  isFull = true
  troubles.push('The server certificate in use is not the one in its files: no')
  await assert.rejects(certificates.lookAtFiles(), /disk is full/)
  isFull = false
  for (const look of looks) await look()
  assert.equal(typesOf(await read(core)).at(-1), 'certificate.renewal-failing')
  assert.equal((await read(core)).length, 3)
})

test('a follower whose cursor is of a database that is gone gets the events from the first', async () => {
  await using core = await SuperlinkCore.start()
  await core.run({ owner: 'alice' })
  await core.run({ owner: 'alice' })
  const sequences = (await read(core, undefined, 500n)).map(({ sequence }) => sequence)
  assert.deepEqual(sequences, ['1', '2'])
  assert.deepEqual(await read(core, undefined, 2n), [])
})

test('a SuperNode that leaves and joins in a loop makes few events, and can leave again after a minute', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const nodeId = await core.join('node')
  let refused = 0
  for (let time = 0; time < 100; time++) {
    await deactivateNode(ctx, nodeId).catch(({ code }) => {
      assert.equal(code, 'node-not-deactivated')
      refused += 1
    })
    await heartbeat(ctx, nodeId, 30_000)
    clock.advance(100)
  }
  assert.equal(refused, 90)
  assert.ok((await eventStore.range(ctx.db.read)).last < 30)
  clock.advance(50_000)
  await deactivateNode(ctx, nodeId)
  assert.equal(typesOf(await read(core)).at(-1), 'node.offline')
})
