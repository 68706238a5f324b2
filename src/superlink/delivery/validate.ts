import { superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { ObjectTree } from '../../gen/flwr/proto/message_pb.ts'
import type { Metadata } from '../../message/message.ts'
import { isMessageType } from '../../message/message-type.ts'

/** Flower's earliest plausible `created_at`: 2025-02-28 UTC, in epoch seconds. */
const createdAtMin = 1_740_700_800

/** What a sender may send: a ServerApp instructions, a SuperNode replies to them and messages that reply to nothing. */
export type MessageKind = 'instruction' | 'reply' | 'unprompted'

/** What is wrong with a message, or `undefined`. The rules are those of both wire generations. */
export function findFault(
  kind: MessageKind,
  metadata: Metadata,
  tree: ObjectTree | undefined,
  nowMs: number,
): string | undefined {
  const { srcNodeId, dstNodeId } = metadata
  if (metadata.messageId === '') return 'no message id'
  if (tree?.objectId !== metadata.messageId) return 'the message id is not the root of its object tree'
  if (!(metadata.createdAt >= createdAtMin)) return 'created_at is too early'
  if (!(metadata.ttl > 0)) return 'ttl is not positive'
  if ((metadata.createdAt + metadata.ttl) * 1000 <= nowMs) return 'the message has expired'
  if (!isMessageType(metadata.messageType)) return `unknown message type '${metadata.messageType.slice(0, 60)}'`
  if (Buffer.byteLength(metadata.messageType) > limits.messageTypeBytesMax)
    return `a message type of more than ${limits.messageTypeBytesMax} bytes`
  if (Buffer.byteLength(metadata.groupId) > limits.groupIdBytesMax)
    return `a group id of more than ${limits.groupIdBytesMax} bytes`
  const node = kind === 'instruction' ? dstNodeId : srcNodeId
  const server = kind === 'instruction' ? srcNodeId : dstNodeId
  if (server !== superlinkNodeId) return 'the SuperLink is not at one end'
  if (node === 0n || node === superlinkNodeId) return 'no SuperNode at the other end'
  if (kind !== 'reply' && metadata.replyToMessageId !== '') return 'an instruction replies to nothing'
  if (kind === 'reply' && metadata.replyToMessageId === '') return 'a reply to nothing'
  if (Buffer.byteLength(metadata.replyToMessageId) > limits.hashBytesMax) return 'a reply to what is no message id'
  return undefined
}
