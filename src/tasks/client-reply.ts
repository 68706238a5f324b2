import { DomainError } from '../base/errors.ts'
import type { Message, ObjectTree } from '../gen/flwr/proto/message_pb.ts'
import type { Metadata } from '../message/message.ts'

/**
 * The one message that a ClientApp pushes: the reply to the instruction of its task, in the name of its node. Throws for
 * anything else.
 */
export function readClientReply(
  instruction: Metadata,
  request: { readonly messagesList: readonly Message[]; readonly messageObjectTrees: readonly ObjectTree[] },
): { wire: Message; tree: ObjectTree } {
  const [wire] = request.messagesList
  const [tree] = request.messageObjectTrees
  if (!wire || !tree || request.messagesList.length !== 1 || request.messageObjectTrees.length !== 1)
    throw new DomainError('message-count-invalid', 'A ClientApp pushes exactly one message and its object tree.')
  if (wire.metadata?.runId !== instruction.runId) throw new DomainError('message-run-mismatch')
  if (wire.metadata.srcNodeId !== instruction.dstNodeId)
    throw new DomainError('unexpected-node-id', 'Unexpected source node ID.')
  if (wire.metadata.replyToMessageId !== instruction.messageId || wire.metadata.messageId !== tree.objectId)
    throw new DomainError('invalid-request', 'The message is not a reply to the one of this task.')
  return { wire, tree }
}
