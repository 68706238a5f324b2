import type { Context } from '../../message/context.ts'
import { type AnyRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import type { NodeHistory } from '../selection/node-history.ts'
import { AggregationError } from './aggregation-error.ts'
import type { Result } from './result.ts'
import type { Training } from './training.ts'

/** How many trainings with a checkpoint each context has seen: the second `start` of an app has a checkpoint of its own. */
const trainings = new WeakMap<Context, number>()

/** What is saved: its strategy and wrappers, the result so far, and how the nodes did. */
interface Saved {
  readonly strategy: Training
  readonly result: Result
  readonly history: NodeHistory
}

/**
 * Saves a training in the state of a ServerApp after each round, and restores it when the app starts again. The records are
 * named `trellis-checkpoint-1/…` for the first training of an app, and so on.
 */
export class Checkpoint {
  readonly #grid: Grid
  readonly #context: Context
  readonly #saved: Saved
  readonly #prefix: string

  constructor(grid: Grid, context: Context, saved: Saved) {
    const training = (trainings.get(context) ?? 0) + 1
    trainings.set(context, training)
    this.#grid = grid
    this.#context = context
    this.#saved = saved
    this.#prefix = `trellis-checkpoint-${training}/`
  }

  /** Returns the last round that was saved, 0 without a checkpoint. Throws an AggregationError for that of another strategy. */
  restore(): { last: number; stopped: boolean } {
    const facts = this.#get('facts')
    if (!(facts instanceof ConfigRecord)) return { last: 0, stopped: false }
    const { strategy, result, history } = this.#saved
    const name = strategyName(strategy)
    if (facts.getString('strategy') !== name)
      throw new AggregationError(
        `The checkpoint is of the strategy ${facts.getString('strategy')}, not of ${name}: start the run anew, without --resume.`,
      )
    result.arrays = this.#context.state.arrays(`${this.#prefix}arrays`)
    for (const [part, rounds] of metricsOf(result)) unpack(this.#context.state.metrics(this.#prefix + part), rounds)
    if (facts.has('best-round'))
      result.best = {
        round: facts.getNumber('best-round'),
        value: facts.getNumber('best-value'),
        arrays: this.#context.state.arrays(`${this.#prefix}best`),
      }
    history.restore(facts.getString('history'))
    for (const [depth, one] of chainOf(strategy).entries()) {
      const prefix = `${this.#prefix}state-${depth}/`
      one.state.clear()
      for (const [key, record] of this.#context.state)
        if (key.startsWith(prefix)) one.state.set(key.slice(prefix.length), record)
      one.restoreState()
    }
    return { last: facts.getNumber('round'), stopped: facts.getBoolean('stopped') }
  }

  /** Saves the end of a round. */
  async save(round: number, stopped: boolean): Promise<void> {
    const { strategy, result, history } = this.#saved
    const { state } = this.#context
    for (const key of [...state.keys()]) if (key.startsWith(this.#prefix)) state.delete(key)
    const facts = new ConfigRecord({ strategy: strategyName(strategy), round, stopped, history: history.toJson() })
    this.#set('arrays', result.arrays)
    for (const [part, rounds] of metricsOf(result)) this.#set(part, packed(rounds))
    if (result.best) {
      facts.set('best-round', result.best.round).set('best-value', float(result.best.value))
      this.#set('best', result.best.arrays)
    }
    for (const [depth, one] of chainOf(strategy).entries()) {
      one.storeState()
      for (const [key, record] of one.state) this.#set(`state-${depth}/${key}`, record)
    }
    this.#set('facts', facts)
    await this.#grid.saveState(this.#context)
    log.debug(`Saved a checkpoint of round ${round}`)
  }

  #get(name: string): AnyRecord | undefined {
    return this.#context.state.get(this.#prefix + name)
  }

  #set(name: string, record: AnyRecord): void {
    this.#context.state.set(this.#prefix + name, record)
  }
}

/** A strategy and those that it wraps, outermost first. */
function chainOf(strategy: Training): Training[] {
  return strategy.inner ? [strategy, ...chainOf(strategy.inner)] : [strategy]
}

function strategyName(strategy: Training): string {
  return chainOf(strategy)
    .map((one) => one.constructor.name)
    .join('(')
}

function metricsOf(result: Result): [part: string, rounds: Map<number, MetricRecord>][] {
  return [
    ['train', result.trainMetricsClientapp],
    ['evaluate', result.evaluateMetricsClientapp],
    ['evaluate-serverapp', result.evaluateMetricsServerapp],
  ]
}

/** The metrics of all rounds as one record, each named by its round. */
function packed(rounds: ReadonlyMap<number, MetricRecord>): MetricRecord {
  const all = new MetricRecord()
  for (const [round, metrics] of rounds)
    for (const [key, wire] of metrics.wireEntries()) all.setWire(`${round}/${key}`, wire)
  return all
}

function unpack(all: MetricRecord, rounds: Map<number, MetricRecord>): void {
  for (const [name, wire] of all.wireEntries()) {
    const at = name.indexOf('/')
    const round = Number(name.slice(0, at))
    const metrics = rounds.get(round) ?? new MetricRecord()
    metrics.setWire(name.slice(at + 1), wire)
    rounds.set(round, metrics)
  }
}
