import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import type { Issued } from '../../src/identity/pki.ts'
import { joinFleet, MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'

const policy =
  '[[allow]]\nidentity = "*"\nroles = ["cli", "supernode"]\n[[allow]]\nidentity = "root"\nroles = ["admin"]\n'

test('events tell an admin of a SuperNode that joins, and of a peer whose certificate is revoked', async () => {
  const revoked: Issued[] = []
  await using superlink = await MutualTlsSuperlink.start(async (file, ca) => {
    const { issued } = await ca.issue('site-q')
    revoked.push(issued)
    writeFileSync(file('policy.toml'), policy)
    writeFileSync(file('ca.crl'), await ca.crl(revoked, 1))
    return ['--ssl-client-policy', file('policy.toml'), '--ssl-client-crl', file('ca.crl')]
  })
  const { ca } = superlink
  const [root, good] = [(await ca.issue('root')).issued, (await ca.issue('site-a')).issued]
  const stop = new AbortController()
  const stream = superlink
    .connect('control', root)
    .stream(Control.method.streamEvents, { follow: true }, { signal: stop.signal })
  await joinFleet(superlink.connect('fleet', good))
  assert.equal(await refusalOf(joinFleet(superlink.connect('fleet', revoked[0]))), 'revoked-by-crl')
  const seen = new Map<string, Record<string, unknown>>()
  for await (const { events } of stream) {
    for (const { json } of events) {
      const { type, data } = JSON.parse(json) as { type: string; data: Record<string, unknown> }
      seen.set(type, data)
    }
    if (seen.has('peer.refused')) break
  }
  stop.abort()
  assert.deepEqual([...seen.keys()], ['node.registered', 'node.online', 'certificate.revoked', 'peer.refused'])
  assert.equal(seen.get('node.online')?.identity, 'site-a')
  assert.equal(seen.get('certificate.revoked')?.identity, 'site-q')
  assert.deepEqual(
    [seen.get('peer.refused')?.reason, seen.get('peer.refused')?.count, seen.get('peer.refused')?.address],
    ['revoked-by-crl', 1, '127.0.0.1'],
  )
})
