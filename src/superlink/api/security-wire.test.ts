import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { certificatePeer } from '../../../test/harness/superlink-core.ts'
import type { AuditEntry } from '../../identity/audit.ts'
import { accountOf } from '../access/accounts.ts'
import { SecurityView } from '../access/security-view.ts'
import { securityToWire } from './security-wire.ts'

const refusal = (reason: string, identity: string): AuditEntry => ({
  listener: 'Fleet API',
  method: 'PullMessages',
  peerAddress: '10.0.0.7:4000',
  peer: certificatePeer(identity),
  decision: 'refuse',
  reason,
})

test('refusals of the last day are counted by reason, with the last peer, the most frequent first', () => {
  const clock = new FakeClock()
  const view = new SecurityView(clock)
  view.note(refusal('node-blocked', 'node-1'))
  clock.advance(20 * 3_600_000)
  for (const name of ['node-2', 'node-3']) view.note(refusal('role-not-granted', name))
  view.note(refusal('node-blocked', 'node-4'))
  view.note({ ...refusal('role-not-granted', 'node-5'), decision: 'allow' })
  view.note(refusal('run-not-visible', 'node-5'))
  const seen = () => view.listRefusals().map(({ reason, count, identity }) => [reason, count, identity])
  assert.deepEqual(seen(), [
    ['node-blocked', 2, 'node-4'],
    ['role-not-granted', 2, 'node-3'],
  ])
  clock.advance(5 * 3_600_000)
  assert.deepEqual(seen(), [
    ['role-not-granted', 2, 'node-3'],
    ['node-blocked', 1, 'node-4'],
  ])
  clock.advance(24 * 3_600_000)
  assert.deepEqual(seen(), [])
})

test('only admins see which peers were refused', () => {
  const view = new SecurityView(new FakeClock())
  view.note(refusal('role-not-granted', 'node-2'))
  const shown = (...roles: ('cli' | 'admin')[]) =>
    securityToWire(view, accountOf(certificatePeer('alice', { roles: new Set(roles) })), 0).refusals?.map(
      ({ reason, count, identity, address }) => ({ reason, count, identity, address }),
    )
  const common = { reason: 'role-not-granted', count: 1 }
  assert.deepEqual(shown('cli'), [{ ...common, identity: undefined, address: undefined }])
  assert.deepEqual(shown('cli', 'admin'), [{ ...common, identity: 'node-2', address: '10.0.0.7:4000' }])
})
