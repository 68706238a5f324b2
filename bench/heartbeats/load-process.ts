import { create, type DescMethodUnary, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { headersOf, RawConnection, type RawPeer, type RawRequest } from './raw-connection.ts'

/** A process that sends heartbeats over many connections, as its parent says. It ends with its parent. */

export type LoadCommand =
  | { readonly kind: 'join'; readonly nodes: readonly LoadNode[] }
  | { readonly kind: 'beat'; readonly callsAtOnce: number; readonly ms: number }
export type LoadReport =
  | { readonly kind: 'joined' }
  | { readonly kind: 'sent'; readonly heartbeats: number; readonly seconds: number; readonly cpuSeconds: number }
  | { readonly kind: 'failed'; readonly reason: string }

/** A SuperNode with a connection of its own. */
export interface LoadNode {
  readonly peer: RawPeer
  readonly publicKey: Uint8Array
  /** Where keys are used: a signature that all its calls carry. */
  readonly headers: Readonly<Record<string, string>>
}

const heartbeatInterval = 30
const joinsAtOnce = 16
const accepted = Buffer.from([0, 0, 0, 0, 2, 8, 1])

const beats: (() => Promise<void>)[] = []
const tell = (report: LoadReport): void => void process.send?.(report)

process.on('disconnect', () => process.exit())
process.on('message', (command: LoadCommand) => {
  const obey = command.kind === 'join' ? join(command.nodes) : beat(command)
  obey.catch((error: Error) => tell({ kind: 'failed', reason: error.message }))
})

async function join(nodes: readonly LoadNode[]): Promise<void> {
  const waiting = [...nodes]
  const worker = async (): Promise<void> => {
    for (let node = waiting.shift(); node; node = waiting.shift()) beats.push(await joinNode(node))
  }
  await Promise.all(Array.from({ length: joinsAtOnce }, worker))
  tell({ kind: 'joined' })
}

/** Returns what sends a heartbeat of the node, and throws unless the response says that it was taken. */
async function joinNode({ peer, publicKey, headers }: LoadNode): Promise<() => Promise<void>> {
  const connection = await RawConnection.open(peer)
  const { registerNode, activateNode, sendNodeHeartbeat } = Fleet.method
  await connection.call(requestOf(registerNode, { publicKey }, headers))
  const response = await connection.call(requestOf(activateNode, { publicKey, heartbeatInterval }, headers))
  const { nodeId } = fromBinary(activateNode.output, response.subarray(prefixBytes))
  if (nodeId === 0n) throw new Error('A node could not join.')
  const request = requestOf(sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval }, headers)
  return async () => {
    const taken = await connection.call(request)
    if (!taken.equals(accepted)) throw new Error(`A heartbeat was refused: ${taken.toString('hex')}`)
  }
}

async function beat({ callsAtOnce, ms }: { callsAtOnce: number; ms: number }): Promise<void> {
  const cpuFrom = process.cpuUsage()
  const startedAt = performance.now()
  const endsAt = startedAt + ms
  let heartbeats = 0
  const again = async (send: () => Promise<void>): Promise<void> => {
    while (performance.now() < endsAt) {
      await send()
      heartbeats += 1
    }
  }
  await Promise.all(beats.flatMap((send) => Array.from({ length: callsAtOnce }, () => again(send))))
  const { user, system } = process.cpuUsage(cpuFrom)
  tell({
    ...{ kind: 'sent', heartbeats },
    ...{ seconds: (performance.now() - startedAt) / 1000, cpuSeconds: (user + system) / 1e6 },
  })
}

const prefixBytes = 5

function requestOf<I extends DescMethodUnary['input']>(
  method: DescMethodUnary<I>,
  request: MessageInitShape<I>,
  headers: Readonly<Record<string, string>>,
): RawRequest {
  const message = toBinary(method.input, create(method.input, request))
  const body = Buffer.alloc(prefixBytes + message.length)
  body.writeUInt32BE(message.length, 1)
  body.set(message, prefixBytes)
  return { headers: headersOf(`/${method.parent.typeName}/${method.name}`, headers), body }
}
