import type { Message } from '../../message/message.ts'
import type { ArrayRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import type { Grid } from '../grid.ts'
import { Strategy } from './strategy.ts'

/** A strategy around another one, which samples nodes, configures and evaluates unless the wrapper does so itself. */
export abstract class StrategyWrapper<Inner extends Strategy = Strategy> extends Strategy {
  readonly strategy: Inner

  constructor(strategy: Inner) {
    super()
    this.strategy = strategy
  }

  override get inner(): Inner {
    return this.strategy
  }

  configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Iterable<Message>> {
    return this.strategy.configureTrain(round, arrays, config, grid)
  }

  configureEvaluate(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Iterable<Message>> {
    return this.strategy.configureEvaluate(round, arrays, config, grid)
  }

  aggregateEvaluate(round: number, replies: readonly Message[]): Promise<MetricRecord | undefined> {
    return this.strategy.aggregateEvaluate(round, replies)
  }

  summary(): void {
    this.strategy.summary()
  }
}
