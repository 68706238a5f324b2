import type { MessageInitShape } from '@bufbuild/protobuf'
import { isoTimestamp } from '../../base/clock.ts'
import { mergedTags } from '../../base/node-tags.ts'
import type { NodeInfoSchema } from '../../gen/flwr/proto/node_pb.ts'
import type { LiveNodes } from '../nodes/live-nodes.ts'
import type { Node } from '../nodes/node.ts'

/** What is known of a node beside its row. */
interface NodeFacts {
  readonly live?: LiveNodes
  readonly lastSeenAt?: number | undefined
  readonly lastReplySeconds?: number | undefined
}

/** A node as both generations show it, with what a certificate adds. */
export function nodeToWire(
  node: Node,
  { live, lastSeenAt, lastReplySeconds }: NodeFacts = {},
): MessageInitShape<typeof NodeInfoSchema> {
  return {
    nodeId: node.nodeId,
    ownerAid: node.ownerAid,
    ownerName: node.ownerName,
    status: node.status,
    registeredAt: isoTimestamp(node.registeredAt),
    heartbeatInterval: node.heartbeatIntervalMs / 1000,
    publicKey: Buffer.from(node.publicKey ?? '', 'latin1'),
    authMethod: node.authMethod,
    admission: node.admission,
    tags: { ...mergedTags(node.tags) },
    ...(node.location === undefined ? {} : { location: node.location }),
    ...(node.name === undefined ? {} : { name: node.name }),
    ...(node.lastActivatedAt === undefined ? {} : { lastActivatedAt: isoTimestamp(node.lastActivatedAt) }),
    ...(node.lastDeactivatedAt === undefined ? {} : { lastDeactivatedAt: isoTimestamp(node.lastDeactivatedAt) }),
    ...(node.unregisteredAt === undefined ? {} : { unregisteredAt: isoTimestamp(node.unregisteredAt) }),
    ...(node.onlineUntil === undefined ? {} : { onlineUntil: node.onlineUntil / 1000 }),
    ...(node.identity === undefined ? {} : { identity: node.identity }),
    ...(node.organization === undefined ? {} : { organization: node.organization }),
    ...(node.certificateSerial === undefined ? {} : { certificateSerial: node.certificateSerial }),
    ...(node.certificateNotAfter === undefined ? {} : { certificateNotAfter: node.certificateNotAfter / 1000 }),
    ...(lastSeenAt === undefined ? {} : { lastSeenAt: lastSeenAt / 1000 }),
    ...(lastReplySeconds === undefined ? {} : { lastReplySeconds }),
    ...(live?.releaseOf(node.nodeId) === undefined ? {} : { release: live.releaseOf(node.nodeId) as string }),
    ...(live?.isRenewalFailing(node.nodeId) ? { renewalFailing: true } : {}),
  }
}
