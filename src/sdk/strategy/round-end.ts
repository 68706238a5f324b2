import { UsageError } from '../../base/errors.ts'
import type { MetricRecord } from '../../message/records.ts'
import { log } from '../log.ts'
import type { Result } from './result.ts'
import type { EvaluateFn, KeepBest, TrainingOptions } from './start-options.ts'

/** Evaluates the model before training at the server, unless the training goes on from a checkpoint. */
export async function beforeRounds(last: number, result: Result, evaluateFn: EvaluateFn | undefined): Promise<void> {
  if (last > 0) log.info(`Resuming after round ${last} from a checkpoint`)
  else if (evaluateFn)
    log.info(`Initial global evaluation results: ${(await evaluateAtServer(0, result, evaluateFn)) ?? 'None'}`)
}

/** Evaluates the model of a round at the server. */
export async function evaluateGlobally(
  round: number,
  result: Result,
  evaluateFn: EvaluateFn,
): Promise<MetricRecord | undefined> {
  log.info('Global evaluation')
  const metrics = await evaluateAtServer(round, result, evaluateFn)
  log.info(`\t└──> MetricRecord: ${metrics ?? 'None'}`)
  return metrics
}

async function evaluateAtServer(
  round: number,
  result: Result,
  evaluateFn: EvaluateFn,
): Promise<MetricRecord | undefined> {
  const metrics = await evaluateFn(round, result.arrays)
  if (metrics) result.evaluateMetricsServerapp.set(round, metrics)
  return metrics
}

/** What happens after each round or step. Returns whether the training stops. */
export async function endOfRound(
  round: number,
  result: Result,
  { keepBest, onRound, shouldStop }: TrainingOptions,
): Promise<boolean> {
  if (keepBest) keep(round, result, keepBest)
  await onRound?.(round, result)
  if (!(await shouldStop?.(round, result))) return false
  log.info(`Stopping early after round ${round}`)
  return true
}

function keep(round: number, result: Result, { metric, mode = 'max' }: KeepBest): void {
  if (mode !== 'max' && mode !== 'min') throw new UsageError(`keepBest: mode must be max or min, not ${mode}.`)
  const found = [result.evaluate.get(round), result.train.get(round)].find((metrics) => metrics?.has(metric))
  if (!found) return
  const value = found.getNumber(metric)
  const last = result.best?.value
  const isBetter = last === undefined || (mode === 'max' ? value > last : value < last)
  // A model whose metric is not a number is never the best.
  if (!Number.isNaN(value) && isBetter) result.best = { round, value, arrays: result.arrays }
}
