import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { Issued } from '../../src/identity/pki.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { joinFleet, MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'
import { needsOpenssl } from '../harness/openssl.ts'
import { eventually } from '../harness/program.ts'
import { StepCa, withoutStepCa } from '../harness/step-ca.ts'

const serialOf = ({ certificatePem }: Issued): string =>
  BigInt(`0x${new X509Certificate(certificatePem).serialNumber}`).toString()

test('certificates that step-ca issues and renews let in, and cut off once it has revoked them, by the list that it publishes', {
  skip: withoutStepCa || needsOpenssl,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const directory = stack.use(temporaryDirectory())
  const step = stack.use(await StepCa.start(directory.path))
  writeFileSync(directory.file('clients.crt'), step.cas.map(({ certificatePem }) => certificatePem).join(''))
  const deployment = stack.use(
    await MutualTlsSuperlink.start(() => [
      ...['--ssl-client-ca-certfile', directory.file('clients.crt'), '--ssl-client-crl', step.crlUrl],
    ]),
  )
  const [node, other] = [await step.issue('node-1'), await step.issue('node-2')]
  const first = deployment.connect('fleet', node)
  const nodeId = await joinFleet(first)
  first.close()
  await eventually('the end of its connection', () => deployment.superlink.fleet.connections().length === 0)
  const renewed = await step.renew(node)
  assert.notEqual(serialOf(renewed), serialOf(node))
  const channel = deployment.connect('fleet', renewed)
  assert.equal(await joinFleet(channel), nodeId)
  const otherChannel = deployment.connect('fleet', other)
  const otherId = await joinFleet(otherChannel)

  const held = refusalOf(channel.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 25_000 }))
  await step.revoke(serialOf(renewed))
  // Not to wait for the minutes after which the list is fetched anyhow.
  process.kill(process.pid, 'SIGHUP')
  assert.equal(await held, 'revoked-by-crl')
  assert.equal(await refusalOf(joinFleet(deployment.connect('fleet', renewed))), 'revoked-by-crl')
  await otherChannel.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId: otherId }, heartbeatInterval: 30 })
})
