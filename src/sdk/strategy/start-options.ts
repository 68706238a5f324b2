import { UsageError } from '../../base/errors.ts'
import type { Context } from '../../message/context.ts'
import type { ArrayRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import { type Duration, durationSeconds } from '../duration.ts'
import type { SelectNodes } from '../selection/selection.ts'
import type { Result } from './result.ts'

/** Evaluates a model at the server. Round 0 is the model before training. A result of `undefined` is not recorded. */
export type EvaluateFn = (
  round: number,
  arrays: ArrayRecord,
) => MetricRecord | undefined | Promise<MetricRecord | undefined>

/** Returns whether the training stops after this round. Called after each round, not for round 0; must not change `result`. */
export type ShouldStop = (round: number, result: Result) => boolean | Promise<boolean>

/** Called after each round, not for round 0. What it throws fails the run. */
export type OnRound = (round: number, result: Result) => void | Promise<void>

/** Names the metric of a round by which the best model is kept. */
export interface KeepBest {
  /**
   * A metric of the evaluation: at the server if there is an `evaluateFn`, else at the nodes. If the evaluation has no such
   * metric, that of training is taken.
   */
  readonly metric: string
  /** Whether larger values are better (`max`, the default) or smaller ones. */
  readonly mode?: 'max' | 'min'
}

/** Options of a training that do not depend on whether it runs in rounds. */
export interface TrainingOptions {
  /** Sent with the model to the nodes that train; a strategy adds to a copy of it (FedAvg: `server-round`). */
  readonly trainConfig?: ConfigRecord
  /** Evaluates at the server before the first round and after each. */
  readonly evaluateFn?: EvaluateFn
  /**
   * Chooses among the nodes that are online, in place of all of them. The fractions and minima of a strategy are of the
   * chosen nodes then, and minima that were not set are 1.
   *
   * @example
   * select: byTag('region', 'eu').and(random({ fraction: 0.2, overSelect: 1.3 }))
   */
  readonly select?: SelectNodes
  /**
   * Ends the training early. The result holds the model and the metrics so far.
   *
   * @example
   * shouldStop: (round, result) => result.evaluate.at(round).getNumber('accuracy') > 0.95
   */
  readonly shouldStop?: ShouldStop
  /** Called after each round. */
  readonly onRound?: OnRound
  /** Keeps the best model of all rounds as `result.best`. */
  readonly keepBest?: KeepBest
  /**
   * The context of the ServerApp. Model, metrics and the state of the strategy are saved in it after each round, so that a
   * ServerApp whose process is lost, or `flwr run --resume`, goes on after the last saved round.
   */
  readonly checkpoint?: Context
}

/** How a {@link Strategy} trains in rounds. */
export interface StartOptions extends TrainingOptions {
  /** The maximum number of rounds, by default 3. A `bigint` is what a whole number in an app's configuration is. */
  readonly numRounds?: number | bigint
  /** How long to wait for the replies of one phase, by default 3600 seconds. Nodes that did not reply are left out. */
  readonly timeout?: Duration
  /**
   * How long a phase of a round may take, if that is shorter than `timeout`. Replies that come later are dropped, and nodes
   * that are late again and again are named.
   */
  readonly roundDeadline?: Duration
  /**
   * How many replies without an error a phase needs: a number of nodes, or below 1 a share of the nodes that were asked
   * (with over-selection: of those that are needed). With fewer at its deadline the phase has no result: the model stays.
   */
  readonly minReplies?: number | bigint
  /** As `trainConfig`, for the nodes that evaluate. */
  readonly evaluateConfig?: ConfigRecord
  /** Chooses the nodes that evaluate, by default as `select`. */
  readonly selectEvaluate?: SelectNodes
}

/** Checked numbers of {@link StartOptions}. */
export interface RoundBounds {
  readonly timeoutSeconds: number
  /** At least as many replies of that many that are needed. */
  readonly minReplies: (needed: number) => number
}

/** Throws a UsageError for options that make no sense. */
export function roundBounds({ timeout = 3600, roundDeadline, minReplies = 0 }: StartOptions): RoundBounds {
  const seconds = durationSeconds('timeout', timeout)
  const deadline = roundDeadline === undefined ? seconds : durationSeconds('roundDeadline', roundDeadline)
  const least = Number(minReplies)
  if (!(least >= 0) || (least >= 1 && !Number.isSafeInteger(least)))
    throw new UsageError(`minReplies must be a whole number of nodes, or a share below 1, not ${minReplies}.`)
  return {
    timeoutSeconds: Math.min(seconds, deadline),
    minReplies: (needed) => (least < 1 ? Math.ceil(needed * least) : least),
  }
}

/** Throws a UsageError with the name of the option. */
export function wholeNumber(name: string, value: number | bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new UsageError(`${name} must be a whole number of 0 or more, not ${value}.`)
}
