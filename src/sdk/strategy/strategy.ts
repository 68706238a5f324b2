import type { Message } from '../../message/message.ts'
import { type ArrayRecord, ConfigRecord, type MetricRecord } from '../../message/records.ts'
import type { Grid, Progress } from '../grid.ts'
import { log } from '../log.ts'
import { megabytes, Result, recordText } from './result.ts'

/** Evaluates a model at the server. Round 0 is the model before training. Nothing is kept of `undefined`. */
export type EvaluateFn = (
  round: number,
  arrays: ArrayRecord,
) => MetricRecord | undefined | Promise<MetricRecord | undefined>

export interface StartOptions {
  /** By default 3. */
  readonly numRounds?: number
  /** Seconds to wait for the replies of one phase; by default 3600. Nodes that did not answer by then are left out. */
  readonly timeout?: number
  /** Sent to the nodes with the model, with the number of the round as `server-round`. */
  readonly trainConfig?: ConfigRecord
  readonly evaluateConfig?: ConfigRecord
  readonly evaluateFn?: EvaluateFn
}

/**
 * Federated learning in rounds: train at some nodes, aggregate, evaluate at some nodes. A strategy says who is asked and
 * how replies are put together.
 */
export abstract class Strategy {
  /** The messages of a training phase; none skips it. */
  abstract configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  abstract aggregateTrain(
    round: number,
    replies: readonly Message[],
  ): Promise<{ arrays?: ArrayRecord | undefined; metrics?: MetricRecord | undefined }>
  abstract configureEvaluate(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>>
  abstract aggregateEvaluate(round: number, replies: readonly Message[]): Promise<MetricRecord | undefined>
  /** Logs how the strategy is set up. */
  abstract summary(): void

  /**
   * Runs all rounds. What a round could not improve stays as it was.
   *
   * @example
   * const result = await new FedAvg().start(grid, initialArrays, { numRounds: 5, evaluateFn })
   */
  async start(grid: Grid, initialArrays: ArrayRecord, options: StartOptions = {}): Promise<Result> {
    const { numRounds = 3, timeout = 3600, evaluateFn } = options
    const trainConfig = options.trainConfig ?? new ConfigRecord()
    const evaluateConfig = options.evaluateConfig ?? new ConfigRecord()
    this.#logStart(numRounds, initialArrays, options)
    const result = new Result()
    const startedAt = performance.now()
    if (evaluateFn) {
      const metrics = await evaluateFn(0, initialArrays)
      log.info(`Initial global evaluation results: ${metricsText(metrics)}`)
      if (metrics) result.evaluateMetricsServerapp.set(0, metrics)
    }
    let arrays = initialArrays
    for (let round = 1; round <= numRounds; round++) {
      const report = (phase: Progress['phase'], metrics?: MetricRecord): void =>
        grid.reportProgress({ round, rounds: numRounds, phase, ...(metrics ? { metrics: numbersOf(metrics) } : {}) })
      log.info('')
      log.info(`[ROUND ${round}/${numRounds}]`)
      report('configure')
      arrays = (await this.#train(grid, round, arrays, trainConfig, timeout, result, report)) ?? arrays
      await this.#evaluate(grid, round, arrays, evaluateConfig, timeout, result, report)
      const metrics = evaluateFn && (await evaluateGlobally(evaluateFn, round, arrays, result))
      report('round-end', metrics ?? result.evaluateMetricsClientapp.get(round))
    }
    logEnd(result, (performance.now() - startedAt) / 1000)
    return result
  }

  async #train(
    grid: Grid,
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    timeoutSeconds: number,
    result: Result,
    report: (phase: Progress['phase'], metrics?: MetricRecord) => void,
  ): Promise<ArrayRecord | undefined> {
    const messages = await this.configureTrain(round, arrays, config, grid)
    report('train')
    const replies = await grid.sendAndReceive(messages, { timeoutSeconds })
    const aggregated = await this.aggregateTrain(round, replies)
    if (aggregated.arrays) result.arrays = aggregated.arrays
    if (aggregated.metrics) {
      log.info(`\t└──> Aggregated MetricRecord: ${recordText(aggregated.metrics)}`)
      result.trainMetricsClientapp.set(round, aggregated.metrics)
      report('train', aggregated.metrics)
    }
    return aggregated.arrays
  }

  async #evaluate(
    grid: Grid,
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    timeoutSeconds: number,
    result: Result,
    report: (phase: Progress['phase'], metrics?: MetricRecord) => void,
  ): Promise<void> {
    const messages = await this.configureEvaluate(round, arrays, config, grid)
    report('evaluate')
    const replies = await grid.sendAndReceive(messages, { timeoutSeconds })
    const metrics = await this.aggregateEvaluate(round, replies)
    if (!metrics) return
    log.info(`\t└──> Aggregated MetricRecord: ${recordText(metrics)}`)
    result.evaluateMetricsClientapp.set(round, metrics)
    report('evaluate', metrics)
  }

  #logStart(numRounds: number, arrays: ArrayRecord, options: StartOptions): void {
    const configText = (config: ConfigRecord | undefined): string => (config?.size ? recordText(config) : '(empty!)')
    log.info(`Starting ${this.constructor.name} strategy:`)
    log.info(`\t├── Number of rounds: ${numRounds}`)
    log.info(`\t├── ArrayRecord (${megabytes(arrays).toFixed(2)} MB)`)
    log.info(`\t├── ConfigRecord (train): ${configText(options.trainConfig)}`)
    log.info(`\t├── ConfigRecord (evaluate): ${configText(options.evaluateConfig)}`)
    this.summary()
    log.info('')
  }
}

async function evaluateGlobally(
  evaluateFn: EvaluateFn,
  round: number,
  arrays: ArrayRecord,
  result: Result,
): Promise<MetricRecord | undefined> {
  log.info('Global evaluation')
  const metrics = await evaluateFn(round, arrays)
  log.info(`\t└──> MetricRecord: ${metricsText(metrics)}`)
  if (metrics) result.evaluateMetricsServerapp.set(round, metrics)
  return metrics
}

function logEnd(result: Result, seconds: number): void {
  log.info('')
  log.info(`Strategy execution finished in ${seconds.toFixed(2)}s`)
  log.info('')
  log.info('Final results:')
  log.info('')
  for (const line of result.toString().trimEnd().split('\n')) log.info(`\t${line}`)
  log.info('')
}

function metricsText(metrics: MetricRecord | undefined): string {
  return metrics ? recordText(metrics) : 'None'
}

function numbersOf(metrics: MetricRecord): Record<string, number> {
  const entries = [...metrics].filter(([, value]) => typeof value === 'number' || typeof value === 'bigint')
  return Object.fromEntries(entries.map(([key, value]) => [key, Number(value)]))
}
