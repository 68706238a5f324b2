import type { Message } from '../../message/message.ts'
import type { ArrayRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import type { Replies } from './reply-stream.ts'
import { Result } from './result.ts'
import { logStart } from './run-log.ts'
import { roundBounds, type StartOptions, wholeNumber } from './start-options.ts'
import { StrategyRun } from './strategy-run.ts'
import { Training } from './training.ts'

/** What {@link Strategy.aggregateTrain} gets at the end of the training phase of a round. */
export interface TrainPhase {
  readonly round: number
  /** The replies that came in time, error replies included. */
  readonly replies: Replies
  /** The model that the nodes were sent. */
  readonly current: ArrayRecord
}

/** What {@link Strategy.aggregateTrain} makes of replies; a part that is absent stays as it was. */
export interface Aggregate {
  readonly arrays?: ArrayRecord | undefined
  readonly metrics?: MetricRecord | undefined
}

/** The training phase of a round, for strategies that need several exchanges with the nodes. */
export interface TrainRound {
  readonly round: number
  /** The model so far. */
  readonly current: ArrayRecord
  /** A copy of `trainConfig`. */
  readonly config: ConfigRecord
  /** Its nodes are those that `select` chooses. */
  readonly grid: Grid
  /**
   * Sends messages and waits for their replies, as long as `timeout`, `roundDeadline` and `minReplies` say. Throws if fewer
   * than `minReplies` came: the round has no result then. Replies of each exchange are to be released: see
   * {@link Replies.aggregated}.
   */
  ask(messages: Iterable<Message>): Promise<Replies>
}

/**
 * Federated learning in rounds: train at some nodes, aggregate, evaluate at some nodes. A strategy decides which nodes are
 * asked and how replies are put together. To write one, extend this class, or {@link FedAvg} if only a step differs.
 *
 * @example
 * class SlowStart extends FedAvg {
 *   override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) {
 *     return super.configureTrain(round, arrays, config.copy().set('lr', Math.min(0.1, 0.01 * round)), grid)
 *   }
 * }
 */
export abstract class Strategy extends Training {
  /**
   * Returns the messages of a training phase, each to one node. Without a message the phase is skipped. `arrays` is the model
   * so far, and `config` a copy of `trainConfig` of {@link StartOptions}. It does not wait for nodes by itself:
   * {@link sampleNodes} does.
   *
   * @example
   * override async configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) {
   *   const { sampled } = await sampleNodes(grid, 2, (online) => online)
   *   const content = new RecordDict({ arrays, config: config.set('server-round', round) })
   *   return sampled.map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
   * }
   */
  abstract configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  /**
   * Returns the next model. An error that it throws fails the run. It is called again with one reply less if a reply is lost
   * while the replies are fetched.
   *
   * @example
   * override async aggregateTrain({ replies, current }: TrainPhase) {
   *   const models = await collect(replies.weightedBy('num-examples'))
   *   return { arrays: geometricMedian(models.map(({ arrays }) => arrays), current) }
   * }
   */
  abstract aggregateTrain(phase: TrainPhase): Promise<Aggregate>
  /** Returns the messages of an evaluation phase, each to one node. Without a message the phase is skipped. */
  abstract configureEvaluate(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  /** Returns the metrics of the round. `replies` are those that came in time, in any order, error replies included. */
  abstract aggregateEvaluate(round: number, replies: readonly Message[]): Promise<MetricRecord | undefined>
  /** Logs how the strategy is set up. */
  abstract summary(): void

  /**
   * Runs the training phase of a round: one exchange with the nodes, from {@link Strategy.configureTrain} to
   * {@link Strategy.aggregateTrain}. Override it if a round needs several exchanges.
   */
  async trainRound({ round, current, config, grid, ask }: TrainRound): Promise<Aggregate> {
    const replies = await ask(await this.configureTrain(round, current, config, grid))
    return replies.aggregated((held) => this.aggregateTrain({ round, replies: held, current }))
  }

  /**
   * Runs all rounds and returns the model with all metrics. A round without a result leaves the model as it was. Throws a
   * UsageError for options that make no sense.
   *
   * @example
   * const result = await new FedAvg().start(grid, initialArrays, { numRounds: 5, evaluateFn })
   */
  async start(grid: Grid, initialArrays: ArrayRecord, options: StartOptions = {}): Promise<Result> {
    const rounds = wholeNumber('numRounds', options.numRounds ?? 3)
    const bounds = roundBounds(options)
    logStart(this.constructor.name, rounds, initialArrays, options)
    this.summary()
    log.info('')
    // Not awaited here: this call would hold the initial model in memory until the last round.
    return new StrategyRun(this, grid, { rounds, bounds }, options, new Result(initialArrays)).toEnd()
  }
}
