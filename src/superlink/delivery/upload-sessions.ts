import type { NodeId } from '../../base/ids.ts'
import type { Metadata } from '../../message/message.ts'
import type { SuperlinkContext } from '../context.ts'
import * as messageStore from './message-store.ts'

/**
 * Names of the sessions in which nodes upload the objects of a message. Objects are known by what they are part of, so a
 * session needs no state: it is named after the instruction that is answered, or after a message that replies to nothing.
 */

const unprompted = 'message:'

export function sessionOf({ messageId, replyToMessageId }: Metadata): string {
  return replyToMessageId === '' ? `${unprompted}${messageId}` : replyToMessageId
}

/**
 * Whether an object that no message waits for belongs to a message that its ServerApp has already: then the response to its
 * upload was lost, and this is the second try. An instruction is forgotten with its reply, so one that is still here has none.
 * (The instruction of another node looks the same: the uploading node does not learn whether there is such a message.)
 */
export async function wasTakenUp(
  ctx: Pick<SuperlinkContext, 'db'>,
  nodeId: NodeId,
  sessionId: string,
): Promise<boolean> {
  if (sessionId === '') return false
  if (!sessionId.startsWith(unprompted))
    return (await messageStore.find(ctx.db.read, sessionId))?.metadata.dstNodeId !== nodeId
  const message = await messageStore.find(ctx.db.read, sessionId.slice(unprompted.length))
  return message?.state === 'taken' && message.metadata.srcNodeId === nodeId
}
