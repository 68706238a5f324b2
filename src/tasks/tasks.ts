import { hash, randomBytes } from 'node:crypto'
import { Bell, lookAgain } from '../base/bell.ts'
import type { Clock } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import { isStorageFull } from '../base/full-disk.ts'
import { type NodeId, type RunId, randomId, type TaskId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { AfterCommit, Database, Db } from '../db/database.ts'
import { EndedRuns } from './ended-runs.ts'
import { type AppsAfterPause, Leases } from './leases.ts'
import { backToPending, leaseMs, mayBecome, type Task, type TaskSubStatus, type TaskType } from './task.ts'
import * as taskStore from './task-store.ts'

export interface TasksOptions {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  /** Returns the time for leases, if it is not the clock's. */
  readonly leaseNow?: () => number
  /** Returns whether a task whose process is lost can be launched again; it may prepare that in the same transaction. */
  readonly mayGoOn?: (
    tx: Db,
    afterCommit: AfterCommit,
    lost: { readonly task: Task; readonly reason: string },
  ) => Promise<boolean>
  /** Called when a task has finished, in the same transaction. */
  readonly onFinished: (tx: Db, afterCommit: AfterCommit, task: Task) => Promise<void>
}

/**
 * The life of tasks: created pending, acquired by a launcher with a token and a lease, kept by heartbeats, finished once.
 * Used by SuperLink and SuperNode.
 */
export class Tasks {
  readonly #options: TasksOptions
  /** Rung when a task became pending. */
  readonly #pending = new Bell<'pending'>()
  readonly #leases: Leases
  /** Rung when a task has finished. */
  readonly #ended = new Bell<TaskId>()
  /** Runs that have ended: launchers end their idle processes of these. */
  readonly endedRuns = new EndedRuns()

  constructor(options: TasksOptions) {
    this.#options = options
    this.#leases = new Leases(options, {
      lose: (...end) => this.lose(...end),
      onPending: () => this.#pending.ring('pending'),
    })
  }

  async create(
    tx: Db,
    afterCommit: AfterCommit,
    task: { runId: RunId; type: TaskType; fabHash: string; taskId?: TaskId; messageId?: string },
  ): Promise<TaskId> {
    const taskId = task.taskId ?? randomId<TaskId>()
    await taskStore.insert(tx, { ...task, messageId: task.messageId, taskId, pendingAt: this.#options.clock.now() })
    afterCommit(() => this.#pending.ring('pending'))
    return taskId
  }

  /** Notifies launchers that a run has ended: they wait for it in `acquire`. `nodes` had messages of it. */
  endRun(runId: RunId, nodes: readonly NodeId[] = []): void {
    this.endedRuns.add(runId, nodes)
    this.#pending.ring('pending')
  }

  /**
   * Gives the oldest pending task of these types to a launcher, with a new token. Waits for one for up to `waitMs`, or
   * until a run ends after the position `endedAfter` in `endedRuns`: the launcher has not been notified of these.
   */
  async acquire(options: {
    types: readonly string[]
    waitMs: number
    signal: AbortSignal
    endedAfter?: bigint | undefined
  }): Promise<{ task: Task; token: string } | undefined> {
    if (options.types.length === 0) return undefined
    const { endedAfter } = options
    const acquired = await lookAgain(
      this.#pending,
      'pending',
      async () => {
        const claimed = await this.#claim(options.types)
        if (claimed) return { claimed }
        const news = endedAfter !== undefined && this.endedRuns.since(endedAfter).length > 0
        return news ? { claimed: undefined } : undefined
      },
      options,
    )
    return acquired?.claimed
  }

  /** Runs with a task that waits for a launcher, the oldest first; waits for one up to `waitMs`. */
  async listPendingRuns(type: TaskType, wait: { waitMs: number; signal: AbortSignal }): Promise<RunId[]> {
    const look = async (): Promise<RunId[] | undefined> => {
      const runIds = await taskStore.listPendingRuns(this.#options.db.read, type)
      return runIds.length > 0 ? runIds : undefined
    }
    return (await lookAgain(this.#pending, 'pending', look, wait)) ?? []
  }

  /** As `acquire`, for one run and without waiting. */
  acquireOfRun(type: TaskType, runId: RunId): Promise<{ task: Task; token: string } | undefined> {
    return this.#claim([type], runId)
  }

  async #claim(types: readonly string[], runId?: RunId): Promise<{ task: Task; token: string } | undefined> {
    const { db, clock } = this.#options
    if (!(await taskStore.findOldestPending(db.read, types, runId))) return undefined
    return db.transaction(async (tx, afterCommit) => {
      // Look again in the transaction: another launcher may have been faster.
      const task = await taskStore.findOldestPending(tx, types, runId)
      if (!task) return undefined
      const token = randomBytes(128).toString('hex')
      const now = clock.now()
      const leaseUntil = now + leaseMs.starting
      await taskStore.update(tx, task.taskId, {
        status: 'starting',
        startingAt: now,
        tokenHash: hashToken(token),
        leaseUntil,
        launches: task.launches + 1,
      })
      if (task.launches > 0) await taskStore.forgetBatches(tx, task.taskId)
      afterCommit(() => this.#leases.began(leaseUntil))
      return { task, token }
    })
  }

  /** The task of a token whose lease has not ended. */
  async findByToken(token: string): Promise<Task | undefined> {
    const task = await taskStore.findByTokenHash(this.#options.db.read, hashToken(token))
    return task && (task.leaseUntil ?? 0) > this.#leases.now() ? task : undefined
  }

  /**
   * Throws `token-invalid` if the task has ended. A transaction that stores something of a task asks this first: what a task
   * has is forgotten in the transaction that ends it.
   */
  async ensureOpen(tx: Db, taskId: TaskId): Promise<void> {
    const task = await taskStore.find(tx, taskId)
    if (!task || task.status === 'finished') throw new DomainError('token-invalid', `Task ${taskId} has ended.`)
  }

  /**
   * The app is up. Returns false if the task is neither `starting` nor `running`. The app asks for its input again if the
   * response was lost, as when this server was killed. Another process with the token could ask too: the log names it.
   */
  async activate(taskId: TaskId): Promise<boolean> {
    const { db, clock, log } = this.#options
    return db.transaction(async (tx, afterCommit) => {
      const task = await taskStore.find(tx, taskId)
      if (task?.status === 'running') {
        afterCommit(() => log.warn('The input of a running task was asked for again', { run: task.runId }))
        return true
      }
      if (!task || !mayBecome(task.status, 'running')) return false
      const now = clock.now()
      await taskStore.update(tx, taskId, { status: 'running', runningAt: now, leaseUntil: now + leaseMs.running })
      return true
    })
  }

  /**
   * Prolongs the lease, then waits up to `waitMs` for the end of the task: a caller that keeps asking hears of a stop at
   * once. Returns false if the task has ended.
   */
  async heartbeat(taskId: TaskId, wait: { waitMs: number; signal: AbortSignal }): Promise<boolean> {
    const { db } = this.#options
    const alive = await this.#prolong(taskId).catch(async (error) => {
      if (!isStorageFull(error)) throw error
      return isAlive(await taskStore.find(db.read, taskId))
    })
    if (!alive || wait.waitMs <= 0) return alive
    const ended = async (): Promise<true | undefined> =>
      isAlive(await taskStore.find(db.read, taskId)) ? undefined : true
    return (await lookAgain(this.#ended, taskId, ended, wait)) === undefined
  }

  #prolong(taskId: TaskId): Promise<boolean> {
    const { db, clock } = this.#options
    return db.transaction(async (tx) => {
      if (!isAlive(await taskStore.find(tx, taskId))) return false
      await taskStore.update(tx, taskId, { leaseUntil: clock.now() + leaseMs.running })
      this.#leases.heard(taskId)
      return true
    })
  }

  /** Ends the tasks of a run that are still open, but for one. */
  async finishOthers(tx: Db, afterCommit: AfterCommit, runId: RunId, taskId: TaskId): Promise<void> {
    for (const task of await taskStore.listByRun(tx, runId)) {
      if (task.taskId !== taskId && task.status !== 'finished')
        await this.finish(tx, afterCommit, task.taskId, 'stopped', 'The run has ended.')
    }
  }

  /** Runs with a task of this type that is not finished. */
  async listOpenRuns(type: TaskType): Promise<RunId[]> {
    const open = await taskStore.listOpen(this.#options.db.read)
    return open.filter((task) => task.type === type).map(({ runId }) => runId)
  }

  /** Whether any task is not finished. */
  async haveWork(): Promise<boolean> {
    return (await taskStore.listOpen(this.#options.db.read)).length > 0
  }

  /** No program will ask for this task again. */
  forget(tx: Db, taskId: TaskId): Promise<void> {
    return taskStore.remove(tx, taskId)
  }

  /** Throws `token-invalid` unless the task is in the hands of the same process as then. */
  async ensureSameLaunch(tx: Db, { taskId, launches }: Task): Promise<void> {
    const task = await taskStore.find(tx, taskId)
    if (task?.status !== 'running' || task.launches !== launches)
      throw new DomainError('token-invalid', `Another process works on task ${taskId}.`)
  }

  /** The process of a task is lost: if another can go on, it is launched, else the task has failed. */
  async lose(tx: Db, afterCommit: AfterCommit, taskId: TaskId, reason: string, at?: number): Promise<boolean> {
    const task = await taskStore.find(tx, taskId)
    if (!task || task.status === 'finished') return false
    const goesOn = task.status !== 'pending' && (await this.#options.mayGoOn?.(tx, afterCommit, { task, reason }))
    if (!goesOn) return this.finish(tx, afterCommit, taskId, 'failed', reason, at)
    await taskStore.update(tx, taskId, backToPending)
    afterCommit(() => {
      this.#leases.heard(taskId)
      this.#pending.ring('pending')
      // A process that lives after all has to end.
      this.#ended.ring(taskId)
    })
    return true
  }

  /** The apps of all tasks that were handed out since then are lost. */
  async loseLaunchedSince(startedAt: number, reason: string): Promise<void> {
    await this.#options.db.transaction(async (tx, afterCommit) => {
      for (const { taskId, status, startingAt } of await taskStore.listOpen(tx)) {
        if (status !== 'pending' && (startingAt ?? 0) >= startedAt) await this.lose(tx, afterCommit, taskId, reason)
      }
    })
  }

  /** Returns false, and changes nothing, if the task may not finish like that. The token is void afterwards. */
  async finish(
    tx: Db,
    afterCommit: AfterCommit,
    taskId: TaskId,
    subStatus: TaskSubStatus,
    details: string,
    at?: number,
  ): Promise<boolean> {
    const task = await taskStore.find(tx, taskId)
    if (!task || !mayBecome(task.status, 'finished', subStatus)) return false
    const finishedAt = at ?? this.#options.clock.now()
    await taskStore.update(tx, taskId, {
      status: 'finished',
      subStatus,
      details,
      finishedAt,
      tokenHash: null,
      leaseUntil: null,
    })
    await this.#options.onFinished(tx, afterCommit, { ...task, status: 'finished', subStatus, details, finishedAt })
    afterCommit(() => {
      this.#leases.heard(taskId)
      this.#ended.ring(taskId)
    })
    return true
  }

  /**
   * After a restart of this server, or a time in which no lease could be prolonged. A change may have been committed without
   * its effects then, so waiting calls look again.
   */
  async recover(apps: AppsAfterPause): Promise<void> {
    await this.#leases.recover(apps)
    this.#pending.ringAll()
    this.#ended.ringAll()
  }

  /** Background job: ends leases when they are over. */
  watchLeases(signal: AbortSignal): Promise<void> {
    return this.#leases.watch(signal)
  }
}

function isAlive(task: Task | undefined): boolean {
  return task?.status === 'starting' || task?.status === 'running'
}

/** The token itself is never stored. */
function hashToken(token: string): string {
  return hash('sha256', token, 'hex')
}
