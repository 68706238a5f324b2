import { systemClock } from '../../base/clock.ts'
import type { Message } from '../../message/message.ts'
import { ConfigRecord, type MetricRecord } from '../../message/records.ts'
import type { Grid, Progress } from '../grid.ts'
import { log } from '../log.ts'
import { NodeHistory, numbersOf } from '../selection/node-history.ts'
import { SelectingGrid } from '../selection/selecting-grid.ts'
import type { SelectNodes } from '../selection/selection.ts'
import { Asking, TooFewRepliesError } from './asking.ts'
import { Checkpoint } from './checkpoint.ts'
import { Replies } from './reply-stream.ts'
import type { Result } from './result.ts'
import { beforeRounds, endOfRound, evaluateGlobally } from './round-end.ts'
import { logEnd } from './run-log.ts'
import type { RoundBounds, StartOptions } from './start-options.ts'
import type { Aggregate, Strategy } from './strategy.ts'

type Phase = 'train' | 'evaluate'

/** One call of `start`: the model and what was measured so far. */
export class StrategyRun {
  readonly #strategy: Strategy
  readonly #grid: Grid
  readonly #rounds: number
  readonly #options: StartOptions
  readonly #result: Result
  readonly #history = new NodeHistory()
  readonly #asking: Asking
  readonly #checkpoint: Checkpoint | undefined

  constructor(
    strategy: Strategy,
    grid: Grid,
    limits: { rounds: number; bounds: RoundBounds },
    options: StartOptions,
    result: Result,
  ) {
    this.#strategy = strategy
    this.#grid = grid
    this.#rounds = limits.rounds
    this.#options = options
    this.#result = result
    const [history, clock] = [this.#history, grid.clock ?? systemClock]
    this.#asking = new Asking(grid, limits.bounds, { history, clock })
    this.#checkpoint = options.checkpoint && new Checkpoint(grid, options.checkpoint, { strategy, result, history })
  }

  async toEnd(): Promise<Result> {
    const startedAt = performance.now()
    const result = await this.#allRounds()
    await this.#asking.dropLate()
    const { keepBest } = this.#options
    if (keepBest && !result.best) log.warn(`keepBest: no round has a metric '${keepBest.metric}'.`)
    logEnd(result, performance.now() - startedAt)
    return result
  }

  async #allRounds(): Promise<Result> {
    const { last, stopped } = this.#checkpoint?.restore() ?? { last: 0, stopped: false }
    const { evaluateFn } = this.#options
    await beforeRounds(last, this.#result, evaluateFn)
    if (stopped) return this.#result
    for (let round = last + 1; round <= this.#rounds; round++) {
      const reason = this.#strategy.endsBefore(round)
      if (reason) {
        log.warn(`The training ends before round ${round}: ${reason}`)
        break
      }
      log.info('')
      log.info(`[ROUND ${round}/${this.#rounds}]`)
      await this.#train(round)
      const atNodes = await this.#evaluate(round)
      const atServer = evaluateFn && (await evaluateGlobally(round, this.#result, evaluateFn))
      this.#report(round, 'round-end', atServer ?? atNodes)
      const stops = await endOfRound(round, this.#result, this.#options)
      await this.#checkpoint?.save(round, stops)
      if (stops) break
    }
    return this.#result
  }

  async #train(round: number): Promise<void> {
    this.#report(round, 'configure')
    const { arrays: current } = this.#result
    const grid = this.#gridFor(round, this.#options.select)
    const config = this.#options.trainConfig?.copy() ?? new ConfigRecord()
    const ask = async (messages: Iterable<Message>): Promise<Replies> =>
      new Replies(await this.#ask(round, 'train', messages, grid))
    const aggregate = await orNothing<Aggregate>({}, () =>
      this.#strategy.trainRound({ round, current, config, grid, ask }),
    )
    if (aggregate.arrays) this.#result.arrays = aggregate.arrays
    if (!aggregate.metrics) return
    log.info(`\t└──> Aggregated MetricRecord: ${aggregate.metrics}`)
    this.#result.trainMetricsClientapp.set(round, aggregate.metrics)
    this.#report(round, 'train', aggregate.metrics)
  }

  async #evaluate(round: number): Promise<MetricRecord | undefined> {
    const { arrays } = this.#result
    const grid = this.#gridFor(round, this.#options.selectEvaluate ?? this.#options.select)
    const config = this.#options.evaluateConfig ?? new ConfigRecord()
    const messages = await this.#strategy.configureEvaluate(round, arrays, config, grid)
    const metrics = await orNothing<MetricRecord | undefined>(undefined, async () => {
      const held = await this.#ask(round, 'evaluate', messages, grid)
      const { signal } = new AbortController()
      return this.#strategy.aggregateEvaluate(round, await Promise.all(held.map((reply) => reply.load(signal))))
    })
    if (metrics) {
      log.info(`\t└──> Aggregated MetricRecord: ${metrics}`)
      this.#result.evaluateMetricsClientapp.set(round, metrics)
      this.#report(round, 'evaluate', metrics)
    }
    return metrics
  }

  async #ask(round: number, phase: Phase, asked: Iterable<Message>, grid: Grid) {
    const messages = [...asked]
    if (messages.length > 0) this.#report(round, phase)
    const enough = grid instanceof SelectingGrid ? grid.enough : undefined
    return this.#asking.ask({ round, phase, messages, enough })
  }

  #gridFor(round: number, select: SelectNodes | undefined): Grid {
    if (!select) return this.#grid
    const named: SelectNodes = (nodes, ...rest) => {
      this.#asking.name(nodes)
      return select(nodes, ...rest)
    }
    return new SelectingGrid(this.#grid, named, { round, history: this.#history })
  }

  #report(round: number, phase: Progress['phase'], metrics?: MetricRecord): void {
    const progress = { round, rounds: this.#rounds, phase }
    this.#grid.reportProgress(metrics ? { ...progress, metrics: numbersOf(metrics) } : progress)
  }
}

/** A phase with too few replies has no result. */
async function orNothing<T>(nothing: T, phase: () => Promise<T>): Promise<T> {
  try {
    return await phase()
  } catch (error) {
    if (!(error instanceof TooFewRepliesError)) throw error
    log.warn(`\t> ${error.message}`)
    return nothing
  }
}
