import { Bell } from '../../base/bell.ts'
import { errorText } from '../../base/errors.ts'
import { isNotStored } from '../../base/full-disk.ts'
import type { NodeId, RunId, TaskId } from '../../base/ids.ts'
import { noTags } from '../../base/node-tags.ts'
import type { AfterCommit, Db } from '../../db/database.ts'
import {
  beginExecution,
  type ClientReply,
  type Execution,
  expiredDetails,
  lostReplyReason,
  wholeReplyOf,
} from '../../execution/execution.ts'
import { errorCodes } from '../../message/message.ts'
import { type CarriedObjects, nothingCarried } from '../../objects/carried-objects.ts'
import type { Task } from '../../tasks/task.ts'
import * as taskStore from '../../tasks/task-store.ts'
import type { SuperlinkContext } from '../context.ts'
import { failInstruction } from '../delivery/error-replies.ts'
import * as life from '../delivery/life.ts'
import type { NewMessage, StoredMessage } from '../delivery/message-store.ts'
import * as messageStore from '../delivery/message-store.ts'
import { takeReplies } from '../delivery/replies.ts'
import * as runMessages from '../delivery/run-messages.ts'
import { type Node, noAccount } from '../nodes/node.ts'
import type { RunNodes } from '../nodes/run-nodes.ts'
import * as nodeStateStore from './node-state-store.ts'
import type { Machine } from './settings.ts'
import { VirtualRuns } from './virtual-runs.ts'

/** An instruction that a ClientApp of a virtual node executes. */
export interface VirtualWork extends Execution {
  readonly nodeId: NodeId
  readonly instruction: StoredMessage
  /** The part of the machine that it takes. */
  readonly share: number
}

type Ctx = Pick<
  SuperlinkContext,
  'db' | 'objects' | 'tasks' | 'clock' | 'log' | 'bells' | 'progress' | 'traffic' | 'checkedReplies'
>

/**
 * The nodes of simulations: they exist as numbers, and as ClientApp tasks while they work. A SuperExec runs these tasks as
 * it runs those of a SuperNode, as many at a time as the machine is large enough for; each node works on one message at a
 * time. However an execution ends, the ServerApp gets an answer.
 */
export class VirtualFleet implements RunNodes {
  readonly runs: VirtualRuns
  readonly #ctx: () => Ctx
  readonly #works = new Map<TaskId, VirtualWork>()
  /** Runs that may have instructions without a ClientApp. */
  readonly #waiting = new Set<RunId>()
  readonly #bell = new Bell<'work'>()

  /** The context is asked for late: fleet and context know each other. */
  constructor(ctx: () => Ctx, db: Db, machine: Machine) {
    this.#ctx = ctx
    this.runs = new VirtualRuns(db, machine)
  }

  async listReachable(runId: RunId): Promise<readonly Node[]> {
    return (await this.runs.get(runId)).nodeIds.map(toNode)
  }

  async listAccepting(db: Db, runId: RunId, nodeIds: readonly NodeId[]): Promise<ReadonlySet<NodeId>> {
    const partitions = await this.runs.partitions(db, runId)
    return new Set(nodeIds.filter((nodeId) => partitions.has(nodeId)))
  }

  async isReachable(runId: RunId, nodeId: NodeId): Promise<boolean> {
    return (await this.runs.partitions(this.#ctx().db.read, runId)).has(nodeId)
  }

  wake(runId: RunId): void {
    this.#waiting.add(runId)
    this.#bell.ring('work')
  }

  /** A ClientApp starts with all objects of its message: then a small message travels whole. */
  completed(runId: RunId): void {
    this.wake(runId)
  }

  workOf(taskId: TaskId): VirtualWork | undefined {
    return this.#works.get(taskId)
  }

  /** Background job: starts ClientApps while there are instructions and room for them. */
  async run(signal: AbortSignal): Promise<void> {
    await this.recover()
    while (!signal.aborted) {
      using subscription = this.#bell.subscribe('work')
      while (!signal.aborted && (await this.#startNext())) {}
      await subscription.wait(60_000, signal)
    }
  }

  /**
   * At the start of the SuperLink, and after a time without storage: ClientApps are started and ended that could not be before.
   * A change may have been committed without its effects, so the database says what waits and which ClientApps have ended.
   * Throws if nothing can be stored.
   */
  async recover(): Promise<void> {
    const { db, clock } = this.#ctx()
    const works = [...this.#works]
    const open = new Set((await taskStore.listOpen(db.read)).map(({ taskId }) => taskId))
    for (const [taskId, { instruction }] of works) {
      if (!open.has(taskId)) this.#forget(taskId)
      else if (messageStore.expiresAt(instruction) <= clock.now()) await this.#expire(taskId)
    }
    for (const runId of await runMessages.listRunsWithWaiting(db.read)) this.#waiting.add(runId)
    this.#bell.ring('work')
  }

  /** Ends the execution of a ClientApp: its reply, or an error that says what happened, goes to the ServerApp. */
  async onTaskFinished(tx: Db, afterCommit: AfterCommit, task: Task): Promise<void> {
    const ctx = this.#ctx()
    await ctx.tasks.forget(tx, task.taskId)
    const work = this.#works.get(task.taskId)
    // Its work is not known if the SuperLink was restarted: the reply, if there was one, is lost.
    const instruction = work?.instruction ?? (await messageStore.find(tx, task.messageId ?? ''))
    if (!instruction) return
    const { dstNodeId } = instruction.metadata
    const reply = work && wholeReplyOf(work)
    const outcome = reply && (await this.#takeReply(tx, afterCommit, dstNodeId as NodeId, reply))
    if (!outcome?.accepted || outcome.objectsToPush.length > 0) {
      if (work?.reply) await ctx.objects.release(tx, afterCommit, [work.reply.tree.objectId])
      const reason = reply ? 'The reply of the ClientApp was refused.' : lostReplyReason(task)
      await failInstruction(ctx, tx, afterCommit, instruction, { code: errorCodes.clientAppCrashed, reason })
    }
    afterCommit(() => {
      if (work?.runtimeSeconds !== undefined) ctx.traffic.add(task.runId, { clientappSeconds: work.runtimeSeconds })
      this.#forget(task.taskId)
      this.wake(task.runId)
    })
  }

  /** A reply that came whole confirms its instruction. */
  async #takeReply(tx: Db, afterCommit: AfterCommit, nodeId: NodeId, { wire, tree, carried }: ClientReply) {
    const ctx = this.#ctx()
    const reply = messageStore.fromWire(wire, tree)
    const [outcome] = await takeReplies(ctx, tx, afterCommit, [{ nodeId, reply, carried: carried ?? nothingCarried }])
    if (!carried || !outcome?.instruction) return outcome
    await life.letGo(ctx, tx, afterCommit, [outcome.instruction])
    // Its objects are in memory now. Otherwise they would be read again before it is handed out.
    afterCommit(() => void this.#check(reply, carried).catch(() => {}))
    return outcome
  }

  async #check(reply: NewMessage, carried: CarriedObjects): Promise<void> {
    const { checkedReplies } = this.#ctx()
    using check = checkedReplies.begin(reply)
    await checkedReplies.noteCarried(reply, carried, check)
  }

  /** The run is over: what its nodes still do ends, and what they kept goes. */
  async endRun(tx: Db, afterCommit: AfterCommit, runId: RunId): Promise<void> {
    await nodeStateStore.removeOfRun(tx, runId)
    afterCommit(() => {
      this.#waiting.delete(runId)
      this.runs.forget(runId)
    })
  }

  /** Returns whether there may be more to start. */
  async #startNext(): Promise<boolean> {
    const used = this.#shares()
    const free = 1 - [...used.values()].reduce((sum, share) => sum + share, 0)
    // The run that has least of the machine comes first; room that is not enough for it is kept until it is.
    const runIds = [...this.#waiting].sort((a, b) => (used.get(a) ?? 0) - (used.get(b) ?? 0))
    for (const runId of runIds) {
      const outcome = await this.#startOf(runId, free)
      if (outcome !== 'nothing to do') return outcome === 'started'
    }
    return false
  }

  async #startOf(runId: RunId, free: number): Promise<'started' | 'no room' | 'nothing to do'> {
    const { log, clock, db, tasks } = this.#ctx()
    try {
      const { atOnce, fabHash } = await this.runs.get(runId)
      const share = 1 / atOnce
      if (share > free + rounding) return 'no room'
      return await db.transaction(async (tx, afterCommit) => {
        const instruction = await runMessages.findWholeOfRun(tx, runId, this.#busyNodes(runId), clock.now())
        if (!instruction) {
          this.#waiting.delete(runId)
          return 'nothing to do'
        }
        const { messageId } = instruction.metadata
        await life.handOut(tx, [instruction], clock.now())
        const taskId = await tasks.create(tx, afterCommit, { runId, type: 'flwr-clientapp', fabHash, messageId })
        afterCommit(() => this.#works.set(taskId, this.#begin(taskId, instruction, share)))
        return 'started'
      })
    } catch (error) {
      // The run waits until something can be stored again, which is reported by itself and wakes the fleet.
      if (isNotStored(error)) return 'nothing to do'
      this.#waiting.delete(runId)
      log.warn('A virtual node could not start to work', { run: runId, error: errorText(error) })
      return 'nothing to do'
    }
  }

  #begin(taskId: TaskId, instruction: StoredMessage, share: number): VirtualWork {
    const { metadata, tree } = instruction
    // If nothing can be stored, it is ended after that.
    const expire = (): void => void this.#expire(taskId).catch(() => {})
    const wire = messageStore.toWire(instruction)
    const execution = beginExecution({ metadata, wire, tree }, expire, this.#ctx().clock.now())
    return { ...execution, nodeId: metadata.dstNodeId as NodeId, instruction, share }
  }

  /** Throws only if nothing can be stored. */
  async #expire(taskId: TaskId): Promise<void> {
    const { db, tasks, log } = this.#ctx()
    try {
      await db.transaction(async (tx, afterCommit) => {
        await tasks.finish(tx, afterCommit, taskId, 'failed', expiredDetails)
      })
    } catch (error) {
      if (isNotStored(error)) throw error
      log.warn('A ClientApp whose message has expired could not be ended', { task: taskId, error: errorText(error) })
    }
  }

  #forget(taskId: TaskId): void {
    clearTimeout(this.#works.get(taskId)?.expiry)
    this.#works.delete(taskId)
  }

  #shares(): Map<RunId, number> {
    const shares = new Map<RunId, number>()
    for (const { runId, share } of this.#works.values()) shares.set(runId, (shares.get(runId) ?? 0) + share)
    return shares
  }

  #busyNodes(runId: RunId): NodeId[] {
    return [...this.#works.values()].filter((work) => work.runId === runId).map(({ nodeId }) => nodeId)
  }
}

/** Thirds do not sum up to one. */
const rounding = 1e-9

function toNode(nodeId: NodeId): Node {
  return {
    nodeId,
    publicKey: undefined,
    identity: undefined,
    organization: undefined,
    location: undefined,
    name: undefined,
    tags: noTags,
    authMethod: 'key',
    certificateSerial: undefined,
    certificateNotAfter: undefined,
    ownerAid: noAccount.id,
    ownerName: noAccount.name,
    status: 'online',
    admission: 'open',
    registeredAt: 0,
    lastActivatedAt: undefined,
    lastDeactivatedAt: undefined,
    unregisteredAt: undefined,
    onlineUntil: undefined,
    heartbeatIntervalMs: 0,
  }
}
