import type { MessageShape } from '@bufbuild/protobuf'
import type { NodeInfoSchema } from '../gen/flwr/proto/node_pb.ts'
import type { NodeInfo } from '../sdk/grid.ts'

/**
 * A node as apps see it. An online node is expected to be heard of again within its heartbeat interval before
 * `onlineUntil`, so it was last heard of that much earlier. Flower's SuperLinks of 1.29 tell the id alone.
 */
export function nodeFromWire(node: MessageShape<typeof NodeInfoSchema>, now: number): NodeInfo {
  const { nodeId, name, identity, organization, status } = node
  return {
    nodeId,
    name: name || identity || undefined,
    identity,
    organization,
    tags: { ...node.tags },
    status: status || 'online',
    lastSeenAt: node.lastSeenAt === undefined ? undefined : Math.min(node.lastSeenAt * 1000, now),
  }
}
