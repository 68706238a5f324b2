import { lookAgain } from '../../base/bell.ts'
import { DomainError, errorText } from '../../base/errors.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { LogThrottle } from '../../base/log-throttle.ts'
import { takeTurns } from '../../base/turns.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import type { SuperlinkContext } from '../context.ts'
import { ensureRunOpen } from '../runs/run.ts'
import type { WaitingCall } from './claims.ts'
import * as life from './life.ts'
import type { JoinedObjects, NewMessage, StoredMessage } from './message-store.ts'
import * as nodeMessages from './node-messages.ts'
import { type HandOver, sendAll } from './sending.ts'
import { findFault } from './validate.ts'

/**
 * Instructions on their way from a ServerApp to its nodes. Each reaches its node once, and again if the connection breaks
 * before the response was written, the node says that a response was lost, or it starts anew without having confirmed it.
 */

/**
 * Stores the instructions of a run, with the objects that were sent in the same call. Returns an id for each instruction,
 * empty if it was rejected (unknown or unregistered node), and the objects whose content is missing. Throws
 * `invalid-request` for a malformed message, and `run-not-running` if the run has ended: then none is stored.
 */
export async function pushInstructions(
  ctx: Pick<
    SuperlinkContext,
    'db' | 'objects' | 'clock' | 'bells' | 'progress' | 'runNodes' | 'claims' | 'log' | 'simulation'
  >,
  runId: RunId,
  messages: readonly NewMessage[],
  carried: CarriedObjects = nothingCarried,
): Promise<{ messageIds: string[]; objectsToPush: string[] }> {
  if (messages.length > limits.messagesPerPushMax) {
    throw new DomainError('invalid-request', `More than ${limits.messagesPerPushMax} messages in one push.`)
  }
  const now = ctx.clock.now()
  for (const { metadata, tree } of messages) {
    if (metadata.runId !== runId) throw new DomainError('not-of-this-task', 'Invalid message: another run.')
    if (metadata.srcNodeId !== superlinkNodeId)
      throw new DomainError('not-of-this-task', 'Invalid message: its source is not the SuperLink.')
    const fault = findFault('instruction', metadata, tree, now)
    if (fault) throw new DomainError('invalid-request', `Invalid message: ${fault}.`)
  }
  using handOver = new PushHandOver(ctx)
  return await ctx.db.transaction(async (tx, afterCommit) => {
    await ensureRunOpen(tx, runId)
    const receiverOf = ({ metadata }: NewMessage): NodeId => metadata.dstNodeId as NodeId
    const accepting = await ctx.runNodes.listAccepting(tx, runId, [...new Set(messages.map(receiverOf))])
    const accepted = messages.filter((message) => accepting.has(receiverOf(message)))
    const sent = await sendAll(ctx, tx, afterCommit, accepted, {
      carried,
      handOver,
      mayJoin: ctx.simulation === undefined,
    })
    const missing = new Set(sent.flatMap(({ objectsToPush }) => objectsToPush))
    const receivers = accepted.map(receiverOf)
    const taken = accepted.map(({ metadata }) => metadata.messageId)
    const messageIds = messages.map((message) => (accepting.has(receiverOf(message)) ? message.metadata.messageId : ''))
    afterCommit(() => {
      handOver.begin()
      ctx.runNodes.wake(runId, accepted.filter((message) => !handOver.has(message)).map(receiverOf))
      ctx.progress.asked(runId, receivers.length)
      ctx.bells.deadlines.ring('deadlines')
      // A node that is offline now makes its instruction an error.
      ctx.bells.replies.sent(runId, taken)
      ctx.bells.runs.ring(runId)
    })
    return { messageIds, objectsToPush: [...missing] }
  })
}

/**
 * Returns the next instruction for a node. Waits for one for up to `waitMs`, or until a run of the node ends after the
 * position `endedAfter` in the list of ended runs: the node has not been notified of these. Unless it `takesWhole` messages,
 * it will ask for each object.
 */
export async function claimInstruction(
  ctx: Pick<SuperlinkContext, 'db' | 'claims' | 'bells' | 'tasks' | 'log'>,
  nodeId: NodeId,
  wait: ClaimWait,
): Promise<StoredMessage | undefined> {
  using call = ctx.claims.callOf(nodeId, wait.takesWhole)
  const look = async (): Promise<{ message: StoredMessage | undefined } | undefined> => {
    const message = (await call.taken()) ?? (await ctx.claims.next(nodeId, wait.takesWhole))
    const news = wait.endedAfter !== undefined && ctx.tasks.endedRuns.since(wait.endedAfter, nodeId).length > 0
    if (message || news) return { message }
    call.open()
    return undefined
  }
  const claimed = (await lookAgain(ctx.bells.instructions, nodeId, look, wait))?.message ?? (await call.taken())
  if (!claimed) return undefined
  if (wait.signal.aborted) {
    await giveBack(ctx, claimed)
    return undefined
  }
  ctx.claims.noteHanded(claimed)
  // The connection can also break while the response is written.
  const onBroken = (): void => void giveBack(ctx, claimed).catch(logNotGivenBack(ctx, nodeId))
  wait.hungUp.addEventListener('abort', onBroken, { once: true })
  return claimed
}

export interface ClaimWait {
  readonly waitMs: number
  /** Ends the wait. */
  readonly signal: AbortSignal
  /** Aborted if the caller does not receive the response, until all of it has been sent. */
  readonly hungUp: AbortSignal
  readonly endedAfter: bigint | undefined
  readonly takesWhole: boolean
}

/** The replies of the first SuperNodes wait a little, so that the last ones have their messages soon. In milliseconds. */
const handOverSliceMs = 20

/**
 * Hands the messages of a push to calls that wait for them: each gets its message when the push is stored. If the push fails
 * the calls go on waiting. It may be stored all the same, if the connection to the database was lost.
 */
class PushHandOver implements HandOver, Disposable {
  readonly #ctx: Pick<SuperlinkContext, 'db' | 'claims' | 'clock' | 'bells' | 'log'>
  readonly #reserved = new Map<NewMessage, { readonly call: WaitingCall; message: StoredMessage }>()
  #hasBegun = false

  constructor(ctx: Pick<SuperlinkContext, 'db' | 'claims' | 'clock' | 'bells' | 'log'>) {
    this.#ctx = ctx
  }

  reserve(message: NewMessage): { at: number; takesWhole: boolean } | undefined {
    const call = this.#ctx.claims.reserve(message.metadata.dstNodeId as NodeId)
    if (!call) return undefined
    const at = this.#ctx.clock.now()
    this.#reserved.set(message, { call, message: { ...message, state: 'fetched', deliveredAt: at, isJoined: false } })
    return { at, takesWhole: call.takesWhole }
  }

  noteStored(message: NewMessage, joined: JoinedObjects | undefined): void {
    const reserved = this.#reserved.get(message)
    if (reserved && joined) reserved.message = { ...reserved.message, isJoined: true, joined }
  }

  /** Whether a call gets this message. */
  has(message: NewMessage): boolean {
    return this.#reserved.has(message)
  }

  /** The push is stored. */
  begin(): void {
    this.#hasBegun = true
    void this.#giveAll()
  }

  /** Thousands of calls get their messages in turns: they are served meanwhile. */
  async #giveAll(): Promise<void> {
    const turn = takeTurns(handOverSliceMs)
    for (const { call, message } of this.#reserved.values()) {
      this.#give(call, message, message)
      await turn()
    }
  }

  #give(call: WaitingCall, { metadata }: StoredMessage, given?: StoredMessage): void {
    call.give(given)
    this.#ctx.bells.instructions.ring(metadata.dstNodeId as NodeId)
  }

  [Symbol.dispose](): void {
    if (this.#hasBegun || this.#reserved.size === 0) return
    for (const { call, message } of this.#reserved.values()) {
      this.#ctx.claims.doubtful.add(message)
      this.#give(call, message)
    }
    settleDoubts(this.#ctx).catch((error) =>
      this.#ctx.log.warn('It is not known yet whether a push was stored', { error: errorText(error) }),
    )
  }
}

/**
 * Offers messages again that a push stored without a response of the database. Called after each such push, and again after a
 * time without a database.
 */
export async function settleDoubts(ctx: Pick<SuperlinkContext, 'db' | 'claims' | 'bells'>): Promise<void> {
  const doubtful = [...ctx.claims.doubtful]
  for (let start = 0; start < doubtful.length; start += limits.messagesPerTransactionMax) {
    const some = doubtful.slice(start, start + limits.messagesPerTransactionMax)
    await ctx.db.transaction(async (tx, afterCommit) => {
      for (const message of some) await life.giveBack(ctx, tx, afterCommit, message)
    })
    for (const message of some) ctx.claims.doubtful.delete(message)
  }
}

/** The node gets such an instruction at its next start, or that of the SuperLink. */
function logNotGivenBack({ log }: Pick<SuperlinkContext, 'log'>, node: NodeId): (error: unknown) => void {
  return (error) =>
    log.warn('An instruction whose delivery was cut off is not offered again', { node, error: errorText(error) })
}

async function giveBack(ctx: Pick<SuperlinkContext, 'db' | 'bells'>, message: StoredMessage): Promise<void> {
  await ctx.db.transaction((tx, afterCommit) => life.giveBack(ctx, tx, afterCommit, message))
}

/**
 * A response to a node may have been lost although it was written: the node receives again what it neither confirmed nor began
 * to reply to. If there is no such instruction, nothing is written, however often the node asks.
 */
export async function offerAgain(
  ctx: Pick<SuperlinkContext, 'db' | 'bells' | 'log'>,
  throttle: LogThrottle,
  nodeId: NodeId,
): Promise<void> {
  if ((await nodeMessages.listFetched(ctx.db.read, nodeId)).length === 0) return
  const count = await ctx.db.transaction((tx, afterCommit) => life.giveBackAll(ctx, tx, afterCommit, nodeId))
  const fields = count > 0 && throttle.admit(String(nodeId))
  if (fields) logRedelivered(ctx, { node: nodeId, count, ...fields })
}

/** A node that starts anew receives again what it did not confirm in its former life. */
export async function redeliver(
  ctx: Pick<SuperlinkContext, 'bells' | 'log'>,
  tx: Db,
  afterCommit: AfterCommit,
  nodeId: NodeId,
): Promise<void> {
  const count = await life.giveBackAll(ctx, tx, afterCommit, nodeId)
  if (count > 0) logRedelivered(ctx, { node: nodeId, count })
}

function logRedelivered({ log }: Pick<SuperlinkContext, 'log'>, fields: { node: NodeId; count: number }): void {
  log.info('Instructions that were never confirmed are delivered again', fields)
}
