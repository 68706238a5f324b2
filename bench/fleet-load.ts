import { Fleet } from '../src/gen/flwr/proto/fleet_pb.ts'
import { signNodeCall } from '../src/identity/node-key.ts'
import { fixedTlsSource } from '../src/identity/tls-source.ts'
import { type CallOptions, createChannel } from '../src/rpc/channel.ts'
import type { Deployment } from './deployment.ts'

const callsAtOnce = 100
const warmUpMs = 1000
const measureMs = 5000
const heartbeatInterval = 30

/**
 * Heartbeats a second of one node over one connection, 100 at a time: the smallest call that is written to the database.
 * The signature that Python demands is made once, so that this client costs the same at both.
 */
export async function countFleetCalls(deployment: Deployment): Promise<number> {
  const { flower, ca, fleetAddress } = deployment
  const { key, certificate } = await flower.loadCredential(ca)
  const tls = fixedTlsSource({ rootsPem: ca.issued.certificatePem, ...(certificate ? { certificate } : {}) })
  using channel = createChannel({ address: fleetAddress, tls, transport: 'grpc', component: 'load' })
  const publicKey = key.publicKeyPem
  const options: CallOptions = { ...(flower.signsCalls ? await signNodeCall(key, Date.now()) : {}), timeoutMs: 60_000 }
  await channel.call(Fleet.method.registerNode, { publicKey }, options)
  const { message } = await channel.call(Fleet.method.activateNode, { publicKey, heartbeatInterval }, options)
  const node = { nodeId: message.nodeId }
  const startsAt = performance.now() + warmUpMs
  const endsAt = startsAt + measureMs
  let counted = 0
  const callAgain = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      await channel.call(Fleet.method.sendNodeHeartbeat, { node, heartbeatInterval }, options)
      const now = performance.now()
      if (now > startsAt && now < endsAt) counted += 1
    }
  }
  await Promise.all(Array.from({ length: callsAtOnce }, callAgain))
  return counted / (measureMs / 1000)
}
