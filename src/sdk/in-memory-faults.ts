import { UsageError } from '../base/errors.ts'
import { type Duration, durationSeconds } from './duration.ts'

/** What goes wrong at a node of an {@link InMemoryGrid}. */
export interface NodeFaults {
  /** How long each reply takes; as a function, how long the next one takes. */
  readonly delay?: Duration | (() => Duration)
  /** The share of messages that are lost, from 0 to 1: no reply comes. */
  readonly drop?: number
  /** When the node goes offline for good, from the start of the grid: messages to it get an error reply then. */
  readonly leavesAfter?: Duration
}

/** The checked faults of one node. */
export interface CheckedFaults {
  readonly delayMs: () => number
  readonly drop: number
  readonly leavesAfterMs: number
}

/** Throws a UsageError for faults that make no sense. */
export function checkedFaults(node: string, { delay = 0, drop = 0, leavesAfter }: NodeFaults = {}): CheckedFaults {
  if (!(drop >= 0 && drop <= 1))
    throw new UsageError(`InMemoryGrid: drop of ${node} must be a share from 0 to 1, not ${drop}.`)
  const ms = (value: Duration): number =>
    value === 0 ? 0 : durationSeconds(`InMemoryGrid: delay of ${node}`, value) * 1000
  const fixedMs = typeof delay === 'function' ? 0 : ms(delay)
  return {
    delayMs: typeof delay === 'function' ? () => ms(delay()) : () => fixedMs,
    drop,
    leavesAfterMs: leavesAfter === undefined ? Number.POSITIVE_INFINITY : ms(leavesAfter),
  }
}
