import { UsageError } from '../../base/errors.ts'
import { log } from '../log.ts'
import type { Result } from './result.ts'
import type { KeepBest, TrainingOptions } from './start-options.ts'

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
