import { forEachAtOnce } from '../../base/at-once.ts'
import { UsageError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Message } from '../../message/message.ts'
import { type ArrayRecord, ConfigRecord, type MetricRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { type HeldReply, heldInMemory, LostReplyError } from '../held-reply.ts'
import { log } from '../log.ts'
import { missingReplies } from './replies.ts'
import { Replies } from './reply-stream.ts'
import { Result } from './result.ts'
import { logEnd, logStart } from './run-log.ts'

/** Evaluates a model at the server. Round 0 is the model before training. Nothing is kept of `undefined`. */
export type EvaluateFn = (
  round: number,
  arrays: ArrayRecord,
) => MetricRecord | undefined | Promise<MetricRecord | undefined>

export interface StartOptions {
  /** The maximum number of rounds, by default 3. A `bigint` is what a whole number in an app's configuration is. */
  readonly numRounds?: number | bigint
  /**
   * Seconds to wait for the replies of one phase, by default 3600. Nodes that did not answer by then are left out of the
   * round.
   */
  readonly timeout?: number | bigint
  /** Sent with the model to the nodes that train; a strategy adds to a copy of it (FedAvg: `server-round`). */
  readonly trainConfig?: ConfigRecord
  /** The same for the nodes that evaluate. */
  readonly evaluateConfig?: ConfigRecord
  /** Evaluates at the server before the first round and after each. */
  readonly evaluateFn?: EvaluateFn
  /**
   * Ends the training before `numRounds`. The result holds the model and the metrics so far.
   *
   * @example
   * shouldStop: (round, result) => (result.evaluateMetricsServerapp.get(round)?.getNumber('accuracy') ?? 0) > 0.95
   */
  readonly shouldStop?: ShouldStop
}

/** Returns whether the training stops after this round. Called after each round, not for round 0; must not change `result`. */
export type ShouldStop = (round: number, result: Result) => boolean | Promise<boolean>

/** The end of a phase of training. */
export interface TrainPhase {
  readonly round: number
  /** What came in time, error replies too. */
  readonly replies: Replies
  /** The model that the nodes were sent. */
  readonly current: ArrayRecord
}

/** What {@link Strategy.aggregateTrain} makes of replies; a part that is absent stays as it was. */
export interface Aggregate {
  readonly arrays?: ArrayRecord | undefined
  readonly metrics?: MetricRecord | undefined
}

/**
 * Federated learning in rounds: train at some nodes, aggregate, evaluate at some nodes. A strategy says who is asked and
 * how replies are put together. To write one, extend this class, or {@link FedAvg} where only a step differs.
 *
 * @example
 * class SlowStart extends FedAvg {
 *   override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) {
 *     return super.configureTrain(round, arrays, config.copy().set('lr', Math.min(0.1, 0.01 * round)), grid)
 *   }
 * }
 */
export abstract class Strategy {
  /** The messages of a training phase; none skips it. `arrays` is the model so far. */
  abstract configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  /**
   * The next model. What it throws fails the run. May be called again for a round, with a reply less, if a reply is lost
   * while the replies are fetched.
   *
   * @example
   * override async aggregateTrain({ replies, current }: TrainPhase) {
   *   const models = await collect(replies.weightedBy('num-examples'))
   *   return { arrays: geometricMedian(models.map(({ arrays }) => arrays), current) }
   * }
   */
  abstract aggregateTrain(phase: TrainPhase): Promise<Aggregate>
  /** The messages of an evaluation phase; none skips it. */
  abstract configureEvaluate(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  /** The metrics of the round. `replies` holds what came in time, error replies too, in any order. */
  abstract aggregateEvaluate(round: number, replies: readonly Message[]): Promise<MetricRecord | undefined>
  /** Logs how the strategy is set up. */
  abstract summary(): void

  /**
   * Runs all rounds. What a round could not improve stays as it was. Throws a UsageError for options that make no sense.
   *
   * @example
   * const result = await new FedAvg().start(grid, initialArrays, { numRounds: 5, evaluateFn })
   */
  async start(grid: Grid, initialArrays: ArrayRecord, options: StartOptions = {}): Promise<Result> {
    const rounds = wholeNumber('numRounds', options.numRounds ?? 3)
    const timeoutSeconds = seconds('timeout', options.timeout ?? 3600)
    logStart(this.constructor.name, rounds, initialArrays, options)
    this.summary()
    log.info('')
    // Not awaited here: this call would hold the initial model in memory until the last round.
    return new Run(this, grid, { rounds, timeoutSeconds }, options, new Result(initialArrays)).toEnd()
  }
}

/** One call of `start`: the model and what was measured so far. */
class Run {
  readonly #strategy: Strategy
  readonly #grid: Grid
  readonly #rounds: number
  readonly #timeout: { readonly timeoutSeconds: number }
  readonly #trainConfig: ConfigRecord
  readonly #evaluateConfig: ConfigRecord
  readonly #evaluateFn: EvaluateFn | undefined
  readonly #shouldStop: ShouldStop | undefined
  readonly #result: Result

  constructor(
    strategy: Strategy,
    grid: Grid,
    limits: { rounds: number; timeoutSeconds: number },
    options: StartOptions,
    result: Result,
  ) {
    this.#strategy = strategy
    this.#grid = grid
    this.#rounds = limits.rounds
    this.#timeout = { timeoutSeconds: limits.timeoutSeconds }
    this.#result = result
    this.#shouldStop = options.shouldStop
    this.#trainConfig = options.trainConfig ?? new ConfigRecord()
    this.#evaluateConfig = options.evaluateConfig ?? new ConfigRecord()
    this.#evaluateFn = options.evaluateFn
  }

  async toEnd(): Promise<Result> {
    const startedAt = performance.now()
    const result = await this.#allRounds()
    logEnd(result, performance.now() - startedAt)
    return result
  }

  async #allRounds(): Promise<Result> {
    let { arrays } = this.#result
    if (this.#evaluateFn) {
      const metrics = await this.#evaluateAtServer(0, arrays)
      log.info(`Initial global evaluation results: ${metrics ?? 'None'}`)
    }
    for (let round = 1; round <= this.#rounds; round++) {
      log.info('')
      log.info(`[ROUND ${round}/${this.#rounds}]`)
      arrays = (await this.#train(round, arrays)) ?? arrays
      const atNodes = await this.#evaluate(round, arrays)
      const atServer = this.#evaluateFn && (await this.#evaluateGlobally(round, arrays))
      this.#report(round, 'round-end', atServer ?? atNodes)
      if (await this.#shouldStop?.(round, this.#result)) {
        log.info(`Stopping early after round ${round}`)
        break
      }
    }
    return this.#result
  }

  async #train(round: number, arrays: ArrayRecord): Promise<ArrayRecord | undefined> {
    this.#report(round, 'configure')
    const messages = await this.#strategy.configureTrain(round, arrays, this.#trainConfig, this.#grid)
    const replies = await this.#ask(round, 'train', messages, (asked) => this.#sendAndHold(asked))
    const aggregate = await this.#aggregate({ round, replies, current: arrays })
    if (aggregate.arrays) this.#result.arrays = aggregate.arrays
    if (aggregate.metrics) {
      log.info(`\t└──> Aggregated MetricRecord: ${aggregate.metrics}`)
      this.#result.trainMetricsClientapp.set(round, aggregate.metrics)
      this.#report(round, 'train', aggregate.metrics)
    }
    return aggregate.arrays
  }

  async #evaluate(round: number, arrays: ArrayRecord): Promise<MetricRecord | undefined> {
    const messages = await this.#strategy.configureEvaluate(round, arrays, this.#evaluateConfig, this.#grid)
    const replies = await this.#ask(round, 'evaluate', messages, (asked) =>
      this.#grid.sendAndReceive(asked, this.#timeout),
    )
    const metrics = await this.#strategy.aggregateEvaluate(round, replies)
    if (metrics) {
      log.info(`\t└──> Aggregated MetricRecord: ${metrics}`)
      this.#result.evaluateMetricsClientapp.set(round, metrics)
      this.#report(round, 'evaluate', metrics)
    }
    return metrics
  }

  async #ask<R extends Pick<Message, 'metadata'>>(
    round: number,
    phase: 'train' | 'evaluate',
    messages: Iterable<Message>,
    send: (asked: readonly Message[]) => Promise<R[]>,
  ): Promise<R[]> {
    const asked = [...messages]
    if (asked.length === 0) return []
    this.#report(round, phase)
    const replies = await send(asked)
    const missing = missingReplies(asked, replies)
    if (missing) log.warn(`\t> ${missing} within ${this.#timeout.timeoutSeconds} s`)
    return replies
  }

  async #sendAndHold(messages: readonly Message[]): Promise<HeldReply[]> {
    if (this.#grid.sendAndHold) return this.#grid.sendAndHold(messages, this.#timeout)
    return (await this.#grid.sendAndReceive(messages, this.#timeout)).map(heldInMemory)
  }

  /** Replies are released when the model is made: until then a lost one can be left out, and the others added anew. */
  async #aggregate(phase: { round: number; replies: readonly HeldReply[]; current: ArrayRecord }): Promise<Aggregate> {
    let { replies } = phase
    for (;;) {
      try {
        const aggregate = await this.#strategy.aggregateTrain({ ...phase, replies: new Replies(replies) })
        await forEachAtOnce(replies, limits.repliesFetchedAtOnce, (reply) => reply.release())
        return aggregate
      } catch (error) {
        if (!(error instanceof LostReplyError)) throw error
        const lost = error
        replies = replies.map((held) => (held.metadata === lost.metadata ? heldInMemory(lost.reply) : held))
      }
    }
  }

  async #evaluateGlobally(round: number, arrays: ArrayRecord): Promise<MetricRecord | undefined> {
    log.info('Global evaluation')
    const metrics = await this.#evaluateAtServer(round, arrays)
    log.info(`\t└──> MetricRecord: ${metrics ?? 'None'}`)
    return metrics
  }

  async #evaluateAtServer(round: number, arrays: ArrayRecord): Promise<MetricRecord | undefined> {
    const metrics = await this.#evaluateFn?.(round, arrays)
    if (metrics) this.#result.evaluateMetricsServerapp.set(round, metrics)
    return metrics
  }

  #report(round: number, phase: 'configure' | 'train' | 'evaluate' | 'round-end', metrics?: MetricRecord): void {
    const progress = { round, rounds: this.#rounds, phase }
    this.#grid.reportProgress(metrics ? { ...progress, metrics: scalarsOf(metrics) } : progress)
  }
}

function wholeNumber(name: string, value: number | bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new UsageError(`${name} must be a whole number of 0 or more, not ${value}.`)
}

function seconds(name: string, value: number | bigint): number {
  const number = Number(value)
  if (number > 0) return number
  throw new UsageError(`${name} must be a number of seconds above 0, not ${value}.`)
}

/** Progress is for one look and travels as JSON: lists are left out, and so is what is not finite. */
function scalarsOf(metrics: MetricRecord): Record<string, number> {
  const scalars = [...metrics].filter(([, value]) => !Array.isArray(value) && Number.isFinite(Number(value)))
  return Object.fromEntries(scalars.map(([key, value]) => [key, Number(value)]))
}
