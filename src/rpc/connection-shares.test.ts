import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '../base/limits.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import { ConnectionShares } from './connection-shares.ts'

const anonymous: PeerIdentity = { kind: 'anonymous' }

test('an address without a certificate has its share of the connections, and further ones are refused with the reason; others have their own', () => {
  const shares = new ConnectionShares(limits)
  const arrive = (host: string) => {
    const peer = shares.limit(() => anonymous, host)([], 'new')
    return { peer, leave: shares.enter({ peer, remoteAddress: `${host}:1234` }) }
  }
  const open = Array.from({ length: limits.connectionsPerAddressMax }, () => arrive('10.0.0.1'))
  assert.ok(open.every(({ peer }) => peer.kind === 'anonymous'))
  const { peer } = arrive('10.0.0.1')
  assert.ok(peer.kind === 'refused')
  assert.equal(peer.reason, 'too-many-connections')
  assert.match(peer.sentence, /too many open connections \(10\.0\.0\.1, 256\)/)
  assert.equal(arrive('10.0.0.2').peer.kind, 'anonymous')
  // One customer of IPv6 has 64 bits of addresses.
  for (let count = 0; count < limits.connectionsPerAddressMax; count++) arrive(`2001:db8::${count.toString(16)}`)
  assert.equal(arrive('2001:db8::ffff').peer.kind, 'refused')
  open[0]?.leave()
  assert.equal(arrive('10.0.0.1').peer.kind, 'anonymous')
})
