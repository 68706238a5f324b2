import { Bell } from '../base/bell.ts'
import type { TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { backToPending, leaseMs } from './task.ts'
import * as taskStore from './task-store.ts'
import type { Tasks, TasksOptions } from './tasks.ts'

/** What is known of the apps of a server: `restarted` and `paused` ones may live, the others have ended with it. */
export type AppsAfterPause = 'ended' | 'restarted' | 'paused'

/** What a lease that is over changes. */
export interface LeaseEnds {
  readonly lose: Tasks['lose']
  /** A task waits for a launcher again. */
  readonly onPending: () => void
}

/** Ends tasks whose apps are not heard of any more. */
export class Leases {
  readonly #options: TasksOptions
  readonly #ends: LeaseEnds
  /** Rung when a lease ends before the next look at all of them. */
  readonly #bell = new Bell<'leases'>()
  #looksAt = Number.POSITIVE_INFINITY
  /** Tasks whose apps have to come back after a restart of this server. */
  readonly #awaited = new Set<TaskId>()

  constructor(options: TasksOptions, ends: LeaseEnds) {
    this.#options = options
    this.#ends = ends
  }

  /** The instant by which leases are judged. */
  now(): number {
    return this.#options.leaseNow?.() ?? this.#options.clock.now()
  }

  /** A lease ends at this instant that was not there before. */
  began(until: number): void {
    if (until < this.#looksAt) this.#bell.ring('leases')
  }

  /** The app of this task is there, or its task has ended. */
  heard(taskId: TaskId): void {
    this.#awaited.delete(taskId)
  }

  /**
   * Of apps that have ended, those that had not come up are launched again, and the tasks of the others have failed. Apps
   * that may live get a whole lease to come back.
   */
  async recover(apps: AppsAfterPause): Promise<void> {
    const { db, clock } = this.#options
    await db.transaction(async (tx, afterCommit) => {
      for (const { taskId, status, leaseUntil } of await taskStore.listOpen(tx)) {
        if (leaseUntil === undefined || status === 'pending') continue
        const kind = status === 'running' ? 'running' : 'starting'
        if (apps !== 'ended') await taskStore.update(tx, taskId, { leaseUntil: clock.now() + leaseMs[kind] })
        else if (kind === 'running') await this.#ends.lose(tx, afterCommit, taskId, endedWithServer)
        else await taskStore.update(tx, taskId, backToPending)
        if (apps === 'restarted') this.#awaited.add(taskId)
      }
    })
  }

  /** Runs until the signal. A launch that came to nothing is tried again a few times. */
  async watch(signal: AbortSignal): Promise<void> {
    const { db, log } = this.#options
    while (!signal.aborted) {
      using subscription = this.#bell.subscribe('leases')
      // What begins while they are read is not missed.
      this.#looksAt = Number.POSITIVE_INFINITY
      const open = (await taskStore.listOpen(db.read)).filter((task) => task.leaseUntil !== undefined)
      const now = this.now()
      for (const task of open) {
        if ((task.leaseUntil as number) <= now) await this.#end(task.taskId)
      }
      const next = Math.min(
        ...open.map((task) => task.leaseUntil as number).filter((until) => until > now),
        now + 30_000,
      )
      this.#looksAt = next
      await subscription.wait(Math.max(10, next - this.now()), signal)
    }
    log.debug('No more leases are watched')
  }

  async #end(taskId: TaskId): Promise<void> {
    const { db, log } = this.#options
    await db.transaction(async (tx, afterCommit) => {
      const task = await taskStore.find(tx, taskId)
      if (!task || task.leaseUntil === undefined || task.leaseUntil > this.now()) return
      if (task.status === 'starting' && task.launches < limits.taskLaunchesMax) {
        log.warn('An app did not come up in time and is launched again', {
          task: taskId,
          run: task.runId,
          launches: task.launches,
        })
        await taskStore.update(tx, taskId, backToPending)
        afterCommit(this.#ends.onPending)
        return
      }
      const details =
        task.status === 'starting'
          ? `The app did not come up in ${task.launches} launches`
          : this.#awaited.has(taskId)
            ? notBack
            : 'No heartbeat received from the task'
      await this.#ends.lose(tx, afterCommit, taskId, details, task.leaseUntil)
    })
  }
}

const endedWithServer = 'The server was restarted, and the app that it ran ended with it: start the run again'
const notBack = 'The server was restarted, and the app has not come back since: start the run again'
