import { type Channel, RpcError } from '../rpc/channel.ts'
import type { AppGeneration, AppProgram, TaskApi } from './task-api.ts'
import type { TaskCallsOptions } from './task-calls.ts'

/** A task to be run, as the server handed it out. */
export interface AcquiredTask {
  /** Absent where the server knows runs only. */
  readonly taskId: bigint | undefined
  readonly runId: bigint
  readonly program: AppProgram
  /** Component reference of the app, where the server says it. */
  readonly component: string | undefined
  readonly token: string
  /** The task is the ServerApp of a simulation. */
  readonly simulates?: boolean
  /** The trace that the task is a part of; absent if traces are off. */
  readonly trace?: TaskTrace
}

/** What a SuperExec does for the trace of a task. */
export interface TaskTrace {
  /** For the app, as W3C Trace Context writes it. */
  readonly parent: string
  /** The task is over for the SuperExec. Only the first call counts. */
  ended(): void
}

export interface Acquired {
  readonly task: AcquiredTask | undefined
  /** Runs that have ended since the last question. */
  readonly endedRunIds: readonly bigint[]
  /** The server held the call: the next may follow at once. */
  readonly waited: boolean
}

export const noTask: Acquired = { task: undefined, endedRunIds: [], waited: false }

/** Where a SuperExec gets its tasks. */
export interface TaskSource {
  readonly generation: AppGeneration
  /**
   * Takes the next task of these programs, or of both, if there is one. A server that can do so holds the call for one unless
   * `hold` is false. Throws an RpcError.
   */
  acquire(
    signal: AbortSignal,
    options?: { readonly hold?: boolean; readonly programs?: readonly AppProgram[] },
  ): Promise<Acquired>
  /** Speaks for a task that was taken here. */
  open(task: AcquiredTask, options: Omit<TaskCallsOptions, 'channel' | 'token'>): TaskApi
  /** Whether the server waits for a reply when it is told that a ClientApp has failed without one: Python's do. */
  readonly needsLastWords: boolean
}

export interface TaskSourceOptions {
  readonly channel: Channel
  /** Known to the server and its SuperExecs. */
  readonly secret: Uint8Array | undefined
}

/** How long a server may take to respond, in milliseconds, in addition to the time for which it may hold a call. */
export const answerMs = 30_000

/** Makes a call without a response retryable over a new connection: the old one may be dead without knowing it. */
export function retryOverNewConnection(channel: Channel): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof RpcError) || error.status !== 'deadline-exceeded') throw error
    channel.reconnect()
    throw new RpcError('unavailable', error.message, { kind: 'unreachable', cause: error })
  }
}
