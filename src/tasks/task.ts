import type { RunId, TaskId } from '../base/ids.ts'

/** One execution of a ServerApp, or of a ClientApp for one message. */
export interface Task {
  readonly taskId: TaskId
  readonly runId: RunId
  readonly type: TaskType
  readonly fabHash: string
  readonly status: TaskStatus
  readonly subStatus: TaskSubStatus
  readonly details: string
  /** Epoch milliseconds. */
  readonly pendingAt: number
  readonly startingAt: number | undefined
  readonly runningAt: number | undefined
  readonly finishedAt: number | undefined
  readonly leaseUntil: number | undefined
  /** How often it was handed to a launcher. */
  readonly launches: number
  /** SuperNode: the instruction to which this task replies. */
  readonly messageId: string | undefined
}

export const taskTypes = ['flwr-serverapp', 'flwr-clientapp'] as const
export type TaskType = (typeof taskTypes)[number]
export type TaskStatus = 'pending' | 'starting' | 'running' | 'finished'
export type TaskSubStatus = '' | 'completed' | 'failed' | 'stopped'

/**
 * Which status may follow which. `starting` goes back to `pending` when its lease ends before the app came up, and
 * `running` when its process is lost and another can go on. Nothing leaves `finished`, and only a running task can complete.
 */
const transitions: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  pending: ['starting', 'finished'],
  starting: ['running', 'pending', 'finished'],
  running: ['pending', 'finished'],
  finished: [],
}

export function mayBecome(from: TaskStatus, to: TaskStatus, subStatus: TaskSubStatus = ''): boolean {
  if (to === 'finished' && subStatus === 'completed' && from !== 'running') return false
  return transitions[from].includes(to)
}

/** What changes when a task waits for a launcher again. */
export const backToPending = { status: 'pending', startingAt: null, tokenHash: null, leaseUntil: null } as const

/** A lease in milliseconds: short after the claim, then prolonged by activation and every heartbeat. */
export const leaseMs = { starting: 30_000, running: 60_000 } as const
