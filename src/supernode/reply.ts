import { DomainError, errorText } from '../base/errors.ts'
import { FileContent } from '../base/file-content.ts'
import { limits } from '../base/limits.ts'
import type { ObjectTree, Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import { deflateMessage } from '../message/deflate.ts'
import { errorCodes, Message, type MessageError } from '../message/message.ts'
import { RecordDict } from '../message/records.ts'
import { CarriedRoom, selectCarried } from '../objects/carried-objects.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { ObjectRefusedError, pushObjects } from '../objects/transfer.ts'
import { type ObjectContent, withObject } from '../rpc/object-content.ts'
import { confirmFinished } from './confirm.ts'
import type { SupernodeContext } from './context.ts'
import { fleet, isRunEnded } from './fleet.ts'
import type { Work } from './work.ts'

interface OutgoingReply {
  readonly wire: WireMessage
  readonly tree: ObjectTree
  readonly runtimeSeconds: number | undefined
  readonly read: (objectId: string) => ObjectContent | Promise<ObjectContent>
  /** All objects, or none if they have more bytes than this. */
  readonly readAll: (bytesMax: number) => Promise<readonly Uint8Array[]>
}

/** Sends what the app answered. Its objects are read one by one from the store. */
export function sendReply(ctx: SupernodeContext, work: Work): Promise<void> {
  const { reply } = work
  if (!reply) throw new Error('There is no reply to send')
  return send(ctx, work, {
    ...{ wire: reply.wire, tree: reply.tree, runtimeSeconds: work.runtimeSeconds },
    async read(id) {
      const inMemory = reply.carried?.get(id)
      if (inMemory) return inMemory.bytes
      const leftBytes = reply.left?.get(id)
      if (leftBytes !== undefined && work.taskId !== undefined)
        return ctx.objects.left.content(work.taskId, id, leftBytes)
      const object = await ctx.objects.open(id)
      if (!object?.content) throw new DomainError('internal', `Object ${id} of a reply is gone`)
      return object.content
    },
    async readAll(bytesMax) {
      if (reply.carried)
        return withinBytes(
          [...reply.carried.values()].map(({ bytes }) => bytes),
          bytesMax,
        )
      const ids = flattenTree(reply.tree)
      if (ids.length > limits.carriedObjectsMax) return []
      const sizes = await ctx.objects.sizesOf(ids)
      const isSmall = sizes.size === ids.length && new CarriedRoom(bytesMax).take(sizes) === 'fits'
      return isSmall ? [...(await ctx.objects.contentsOf(ids)).values()] : []
    },
  })
}

function withinBytes(objects: readonly Uint8Array[], bytesMax: number): readonly Uint8Array[] {
  return objects.reduce((sum, { length }) => sum + length, 0) <= bytesMax ? objects : []
}

/** Replies to an instruction with an error that gives the reason. Drops the instruction if it has expired. */
export function answerWithError(ctx: SupernodeContext, work: Work, error: MessageError): Promise<void> {
  const instruction = new Message(work.metadata, { content: new RecordDict() })
  const reply = instruction.replyError(error)
  if (reply.metadata.ttl <= 0) return dropWork(ctx, work, 'it has expired')
  const deflated = deflateMessage(reply)
  const { wire, tree, objects } = deflated
  return send(ctx, work, {
    wire,
    tree,
    runtimeSeconds: undefined,
    read: (id) => (objects.get(id) as () => Uint8Array)(),
    readAll: async (bytesMax) => selectCarried([deflated], bytesMax).objects,
  })
}

async function send(ctx: SupernodeContext, work: Work, reply: OutgoingReply): Promise<void> {
  const { runId } = work
  try {
    if (!(await pushReply(ctx, work, reply)))
      return await dropWork(ctx, work, 'the SuperLink does not take a reply to it any more')
    await confirmFinished(ctx, work)
    ctx.log.info(`Sent: reply to ${work.metadata.messageId.slice(0, 8)} of run ${runId}`, {
      ...(reply.wire.error ? { error: reply.wire.error.reason } : {}),
    })
    await forget(ctx, work)
  } catch (error) {
    if (ctx.signal.aborted) return
    if (isRunEnded(error)) return dropWork(ctx, work, 'its run has ended')
    const reason = `its reply was refused: ${errorText(error)}`
    if (reply.wire.error) return dropWork(ctx, work, reason)
    ctx.log.warn(`An instruction is answered with an error: ${reason}`, { run: runId })
    await answerWithError(ctx, work, {
      code: errorCodes.replyMessageUnavailable,
      reason: `The SuperLink refused the reply: ${errorText(error)}`,
    })
  }
}

/**
 * Announces the reply, with its objects if they may travel along, and uploads those that are missing. When one is refused the
 * reply is announced anew, for the SuperLink may have it from an upload whose response was lost, or may have been restarted.
 * Returns whether it was taken. A reply that arrives whole in one call confirms its instruction too.
 */
async function pushReply(ctx: SupernodeContext, work: Work, reply: OutgoingReply): Promise<boolean> {
  const node = { nodeId: ctx.fleet.nodeId }
  const { runId } = work
  const stored = new Set<string>()
  const { objectsBytesMax } = ctx.fleet
  for (let tries = 1; ; tries++) {
    const objects = tries === 1 && objectsBytesMax > 0 ? await reply.readAll(objectsBytesMax) : []
    const { message } = await ctx.fleet.call(fleet.pushMessages, {
      node,
      messagesList: [reply.wire],
      messageObjectTrees: [reply.tree],
      clientappRuntimeList: reply.runtimeSeconds === undefined ? [] : [reply.runtimeSeconds],
      objects: [...objects],
    })
    const isListed = reply.tree.objectId in message.results
    // Flower 1.43 lists neither replies that it has taken nor those that it refuses.
    if (!isListed && Object.keys(message.results).length > 0) return false
    if (objects.length > 0 && isListed && message.objectsToPush.length === 0) {
      work.known.isConfirmed = true
      return true
    }
    // Up to 1.42 Flower's SuperLink asks for nothing of a reply that its ServerApp took up after an announcement whose
    // response was lost, and yet waits for its objects.
    const isHeardBefore = isListed && message.objectsToPush.length === 0
    const sessionId = isHeardBefore ? anySession : message.sessionId
    const push = async (objectId: string, content: ObjectContent): Promise<boolean> => {
      const about = { node, runId, objectId, sessionId }
      try {
        const { message: answer } = await ctx.fleet.call(fleet.pushObject, withObject(about, content))
        if (answer.stored) stored.add(objectId)
        return answer.stored || isHeardBefore
      } finally {
        if (content instanceof FileContent) await content.close()
      }
    }
    const ids = isHeardBefore ? flattenTree(reply.tree).filter((id) => !stored.has(id)) : message.objectsToPush
    try {
      await pushObjects({ ids, read: reply.read, push })
      return true
    } catch (error) {
      if (!(error instanceof ObjectRefusedError) || tries === announcementsMax) throw error
      ctx.log.info('Objects of a reply are sent again', { run: runId, because: error.message })
    }
  }
}

const announcementsMax = 3
/** Stands for whichever upload session waits for the object. */
const anySession = ''

/** Gives up on an instruction, and confirms it so that it does not come again. */
export async function dropWork(ctx: SupernodeContext, work: Work, reason: string): Promise<void> {
  ctx.log.warn(`An instruction is not answered: ${reason}`, {
    run: work.runId,
    message: work.metadata.messageId.slice(0, 8),
  })
  await forget(ctx, work)
  await confirmFinished(ctx, work)
}

/** Puts an instruction back that could not be started: the SuperLink may hand it out again. */
export async function returnWork(ctx: SupernodeContext, work: Work): Promise<void> {
  ctx.work.discard(work)
  await releaseObjects(ctx, work)
}

async function forget(ctx: SupernodeContext, work: Work): Promise<void> {
  ctx.work.remove(work)
  await releaseObjects(ctx, work)
}

async function releaseObjects(ctx: SupernodeContext, work: Work): Promise<void> {
  // There is room for another instruction now, even if the objects of this one cannot be deleted.
  ctx.room.ring('room')
  const ids = [work.metadata.messageId, ...(work.reply ? [work.reply.tree.objectId] : [])]
  if (work.taskId !== undefined) await ctx.objects.left.remove(work.taskId)
  await ctx.db.transaction((tx, afterCommit) => ctx.objects.release(tx, afterCommit, ids))
}
