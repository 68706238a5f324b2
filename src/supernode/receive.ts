import { create } from '@bufbuild/protobuf'
import { DomainError, errorText } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { expiredDetails } from '../execution/execution.ts'
import { PullMessagesResponseSchema } from '../gen/flwr/proto/fleet_pb.ts'
import type { ObjectTree, Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import { errorCodes } from '../message/message.ts'
import { readCarried } from '../objects/carried-objects.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { pullObjects } from '../objects/transfer.ts'
import { receivedObject } from '../rpc/object-content.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { mayMissEnds } from '../tasks/ended-runs.ts'
import { confirmHeld, meetAgain } from './confirm.ts'
import type { SupernodeContext } from './context.ts'
import { fleet, heartbeatIntervalSeconds, isNodeForgotten, isRunEnded } from './fleet.ts'
import { answerWithError, dropWork, returnWork } from './reply.ts'
import type { Work } from './work.ts'

/** Instructions that are taken and not answered yet, at most: the rest waits at the SuperLink. */
const workMax = 16
const waitMs = 25_000
/** What upstream's SuperNode pauses between two questions, for a SuperLink that does not hold them. */
const pollMs = 3000

/** Takes one instruction after the other until no more are received. Throws what no waiting would mend. */
export async function receiveInstructions(ctx: SupernodeContext): Promise<void> {
  const { clock, log, receiving: signal, work } = ctx
  let endedRunsSeen = 0n
  let polls = false
  while (!signal.aborted) {
    using room = ctx.room.subscribe('room')
    if (work.size >= workMax) {
      await room.wait(60_000, signal)
      continue
    }
    const { message, waited } = await pullMessages(ctx, endedRunsSeen)
    const missed = mayMissEnds(endedRunsSeen, message.endedRunsSeen ?? 0n)
    endedRunsSeen = message.endedRunsSeen ?? 0n
    for (const runId of message.endedRunIds) endRun(ctx, runId as RunId)
    if (missed) void findMissedEnds(ctx)
    const [wire] = message.messagesList
    const [tree] = message.messageObjectTrees
    const known = work.findKnown(wire?.metadata?.messageId ?? '')
    if (known) await meetAgain(ctx, known)
    else if (wire && tree) await take(ctx, { wire, tree, objects: message.objects })
    else if (!waited) {
      if (!polls) log.info(`The SuperLink does not hold requests: asking every ${pollMs / 1000} s for instructions`)
      polls = true
      await clock.sleep(pollMs, signal)
    }
  }
}

/** What a SuperLink forbids now it may allow later: upstream's SuperNodes ask again too. */
async function pullMessages({ fleet: client, log, receiving }: SupernodeContext, endedRunsSeen: bigint) {
  try {
    const request = {
      node: { nodeId: client.nodeId },
      endedRunsSeen,
      objectsBytesMax: limits.carriedBytesMax,
      heartbeatInterval: heartbeatIntervalSeconds,
    }
    return await client.call(fleet.pullMessages, request, { waitMs, signal: receiving })
  } catch (error) {
    if (!isRunEnded(error)) throw error
    log.info(`The SuperLink has no instructions for this node now: ${errorText(error)}`)
    return { message: create(PullMessagesResponseSchema, { endedRunsSeen }), waited: false }
  }
}

/** An instruction as it was handed out, with all its objects if the SuperLink has sent them along. */
interface Received {
  readonly wire: WireMessage
  readonly tree: ObjectTree
  readonly objects: readonly Uint8Array[]
}

async function take(ctx: SupernodeContext, { wire, tree, objects }: Received): Promise<void> {
  const expired = (work: Work): void => void logged(ctx, work, expire(ctx, work))
  const work = ctx.work.add(wire, tree, expired, ctx.clock.now())
  const { messageType, messageId } = work.metadata
  ctx.log.info(`Received: ${messageType} message ${messageId.slice(0, 8)} of run ${work.runId}`)
  if (objects.length > 0) await keepObjects(ctx, work, objects)
  try {
    await ctx.runs.get(work.runId)
  } catch (error) {
    return giveUp(ctx, work, error)
  }
  // A SuperLink that waits for the confirmation of this instruction hands out no other one, not even of another run.
  if (!ctx.fleet.redelivers) await announceObjects(ctx, work)
  await startNext(ctx, work.runId)
}

/** Stores the objects that came with an instruction. If that fails they are fetched one by one. */
async function keepObjects(ctx: SupernodeContext, work: Work, objects: readonly Uint8Array[]): Promise<void> {
  try {
    const carried = await readCarried(objects, [work.tree], limits.carriedBytesMax)
    const missing = await ctx.db.transaction(async (tx, afterCommit) => {
      // Its objects have been let go of: those that are stored now would stay.
      if (work.state === 'ended') return new Set<string>()
      const named = { messageId: work.metadata.messageId, objectIds: flattenTree(work.tree) }
      return ctx.objects.announceAll(tx, afterCommit, [named], carried)
    })
    if (missing.size === 0) work.arrival = logged(ctx, work, confirmHeld(ctx, work))
  } catch (error) {
    ctx.log.debug('The objects that came with an instruction are fetched', {
      run: work.runId,
      because: errorText(error),
    })
  }
}

/** Fetches the objects before the instruction has its turn. */
async function announceObjects(ctx: SupernodeContext, work: Work): Promise<void> {
  if (work.state === 'ended' || work.arrival) return
  await ctx.db.transaction((tx) => ctx.objects.announce(tx, work.metadata.messageId, flattenTree(work.tree)))
  work.arrival = logged(ctx, work, download(ctx, work))
}

/**
 * Starts the next instruction of the run, unless another one is being started or executed. If it cannot be started, the one
 * after it gets its turn. Throws what no reply would mend; the waiting instructions of the run may come again then.
 */
export async function startNext(ctx: SupernodeContext, runId: RunId): Promise<void> {
  for (;;) {
    // What is not started stays at the SuperLink, for the next start of this node.
    const work = ctx.receiving.aborted ? undefined : ctx.work.startNext(runId)
    if (!work) return
    try {
      if (await start(ctx, work)) return
    } catch (error) {
      await giveUp(ctx, work, error)
    }
  }
}

/**
 * The task exists before the objects are here, so that the start of the app and the download overlap. Returns false if the
 * instruction was ended meanwhile, e.g. because it has expired.
 */
async function start(ctx: SupernodeContext, work: Work): Promise<boolean> {
  const run = await ctx.runs.get(work.runId)
  const ended = new Error('The instruction was ended while it was being started.')
  try {
    await ctx.db.transaction(async (tx, afterCommit) => {
      const { messageId } = work.metadata
      // Those that came with the instruction, or are being fetched, are known.
      if (!work.arrival) await ctx.objects.announce(tx, messageId, flattenTree(work.tree))
      const about = { runId: work.runId, type: 'flwr-clientapp', fabHash: run.fab.hashStr, messageId } as const
      const taskId = await ctx.tasks.create(tx, afterCommit, about)
      if (!ctx.work.begin(work, taskId)) throw ended
    })
  } catch (error) {
    if (error === ended) return false
    throw error
  }
  work.arrival ??= logged(ctx, work, download(ctx, work))
  return true
}

/**
 * The app of an instruction could not be fetched, or its task not be created. Replies with the reason. Throws an error that
 * no reply would mend, e.g. of a SuperLink that does not know this node: then the instructions of the run may come again.
 */
async function giveUp(ctx: SupernodeContext, work: Work, error: unknown): Promise<void> {
  const isOfRun = error instanceof DomainError || (error instanceof RpcError && !isNodeForgotten(error))
  if (!isOfRun) {
    for (const waiting of ctx.work.ofRun(work.runId)) {
      if (waiting.taskId === undefined && ctx.work.end(waiting)) await returnWork(ctx, waiting)
    }
    throw error
  }
  if (!ctx.work.end(work)) return
  if (isRunEnded(error)) return dropWork(ctx, work, 'its run has ended')
  if (error instanceof RpcError) {
    const reason = `The SuperLink did not hand the app over: ${error.message}`
    return answerWithError(ctx, work, { code: errorCodes.unknown, reason })
  }
  const isFaultOfApp = error.code === 'fab-invalid' || error.code === 'run-config-invalid'
  const code = isFaultOfApp ? errorCodes.invalidFab : errorCodes.unknown
  return answerWithError(ctx, work, { code, reason: error.message })
}

/** Nothing waits for such a step, and a disk that fails must not end the program: the error goes to the log. */
function logged({ log, signal }: SupernodeContext, { runId }: Work, step: Promise<void>): Promise<void> {
  return step.catch((error: unknown) => {
    if (!signal.aborted) log.error('The end of an instruction failed', { run: runId, because: errorText(error) })
  })
}

async function download(ctx: SupernodeContext, work: Work): Promise<void> {
  const node = { nodeId: ctx.fleet.nodeId }
  const { runId } = work
  try {
    await pullObjects({
      ids: flattenTree(work.tree),
      has: async (id) => (await ctx.objects.has(id)) === true,
      async pull(objectId) {
        const callOptions = { waitMs, files: ctx.objects }
        const { message, waited } = await ctx.fleet.call(fleet.pullObject, { node, runId, objectId }, callOptions)
        const { objectFound, objectAvailable } = message
        return { objectFound, objectAvailable, content: receivedObject(message), waited }
      },
      async write(id, { content }) {
        await using _file = content instanceof IncomingFile ? content : undefined
        const outcome = await ctx.objects.put(id, content)
        if (outcome === 'mismatch') throw new Error(`Object ${id} arrived with other bytes than its name says.`)
      },
      discard: async ({ content }) => {
        if (content instanceof IncomingFile) await content[Symbol.asyncDispose]()
      },
      sleep: (ms) => ctx.clock.sleep(ms, ctx.signal),
    })
    await confirmHeld(ctx, work)
  } catch (error) {
    if (ctx.signal.aborted) return
    if (isRunEnded(error)) return endRun(ctx, runId)
    const reason = `The message could not be fetched: ${errorText(error)}`
    if (work.taskId !== undefined) await failTask(ctx, work, reason)
    else if (ctx.work.end(work)) await answerWithError(ctx, work, { code: errorCodes.messageUnavailable, reason })
  }
}

/** Ends the execution of an instruction; its reply is an error with the reason. */
async function failTask(ctx: SupernodeContext, work: Work, details: string): Promise<void> {
  const { taskId } = work
  if (taskId === undefined) return
  await ctx.db.transaction(async (tx, afterCommit) => {
    await ctx.tasks.finish(tx, afterCommit, taskId, 'failed', details)
  })
}

async function expire(ctx: SupernodeContext, work: Work): Promise<void> {
  ctx.log.warn('A ClientApp did not answer before its message expired', {
    run: work.runId,
    message: work.metadata.messageId.slice(0, 8),
  })
  if (work.taskId !== undefined) await failTask(ctx, work, expiredDetails)
  else if (ctx.work.end(work)) await dropWork(ctx, work, 'it has expired')
}

/** Asks for each run that this node keeps something of, because a restart of the SuperLink may have lost the news of its end. */
async function findMissedEnds(ctx: SupernodeContext): Promise<void> {
  const { fleet: client, log, runs, signal, work } = ctx
  const kept = new Set([...runs.ids(), ...work.list().map(({ runId }) => runId)])
  for (const runId of kept) {
    try {
      await client.call(fleet.getRun, { node: { nodeId: client.nodeId }, runId })
    } catch (error) {
      if (signal.aborted) return
      if (isRunEnded(error)) endRun(ctx, runId)
      else log.warn('Whether a run has ended is not known', { run: runId, error: errorText(error) })
    }
  }
}

/** The SuperLink has ended a run: its apps end, and nothing of it is answered any more. */
function endRun(ctx: SupernodeContext, runId: RunId): void {
  ctx.runs.forget(runId)
  ctx.tasks.endRun(runId)
  for (const work of ctx.work.ofRun(runId)) {
    if (work.taskId !== undefined) void logged(ctx, work, failTask(ctx, work, 'The run has ended.'))
    else if (ctx.work.end(work)) void logged(ctx, work, dropWork(ctx, work, 'its run has ended'))
  }
}
