import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { certificatePeer, emptyFab, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { AuditLog } from '../../identity/audit.ts'
import type { PeerIdentity } from '../../identity/caller.ts'
import { auditCalls } from './audit-calls.ts'
import { createControlService } from './control.ts'

const control = Control.method

/** The Control API of a SuperLink that demands certificates, and what its audit log holds. */
async function setUp() {
  const core = await SuperlinkCore.start({ settings: { requireCertificates: true } })
  const lines: string[] = []
  const audit: AuditLog = ({ listener, method, peer, decision, reason }) => {
    const name = peer.kind === 'certificate' ? peer.identity : peer.kind
    lines.push([listener, method.split('/').at(-1), name, decision, reason].filter(Boolean).join(' '))
  }
  const interceptors = [auditCalls('Control API', audit)]
  const as = (peer: PeerIdentity) =>
    new InMemoryClient([createControlService(core.ctx)], {
      interceptors,
      connection: openConnection(1, peer).connection,
    })
  return { lines, as, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('the audit log holds every refused caller, and every call that changed something; nothing else', async () => {
  await using world = await setUp()
  const { lines, as } = world
  const alice = as(certificatePeer('alice'))
  await assert.rejects(as({ kind: 'anonymous' }).call(control.listRuns, {}), { code: 'no-certificate' })
  await assert.rejects(as(certificatePeer('n', { roles: new Set(['supernode']) })).call(control.listRuns, {}), {
    code: 'role-not-granted',
  })
  const { runId = 0n } = await alice.call(control.startRun, { fab: { content: emptyFab() } })
  await alice.call(control.listRuns, {})
  await assert.rejects(alice.call(control.startRun, {}), { code: 'fab-invalid' })
  await assert.rejects(as(certificatePeer('bob')).call(control.stopRun, { runId }), { code: 'run-not-found' })
  await alice.call(control.stopRun, { runId })
  assert.deepEqual(lines, [
    'Control API ListRuns anonymous refuse no-certificate',
    'Control API ListRuns n refuse role-not-granted',
    'Control API StartRun alice allow',
    'Control API StopRun bob refuse run-of-another-account',
    'Control API StopRun alice allow',
  ])
})
