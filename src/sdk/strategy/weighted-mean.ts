import { type ArrayRecord, MetricRecord } from '../../message/records.ts'
import { Float } from '../../message/value.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'
import { WeightedSum } from './weighted-sum.ts'

/** Weighted means of what nodes return (McMahan et al. 2017, algorithm 1): sum of w_i / W * x_i, W the sum of the w_i. */

/** A model and its weight. */
export interface WeightedArrays {
  readonly arrays: ArrayRecord
  readonly weight: number
}

/**
 * The mean of arrays by name, weighted by `weight`, in the order of the first record; all must have the same names. Throws an
 * InconsistentRepliesError when shapes differ. Holds one sum beside the replies.
 *
 * @example
 * const models = await collect(replies.weightedBy('num-examples'))
 * return { arrays: meanOfArrays(models), metrics: meanOfMetrics(models, 'num-examples') }
 */
export function meanOfArrays(parts: readonly WeightedArrays[]): ArrayRecord {
  const shares = sharesOf(parts)
  const sum = new WeightedSum()
  sum.addAll(parts.map(({ arrays }, index) => ({ arrays, share: shares[index] as number })))
  return sum.mean()
}

/** Metrics and their weight. */
export interface WeightedMetrics {
  readonly metrics: MetricRecord
  readonly weight: number
}

/**
 * The mean of metrics by key, weighted by `weight`, without the metric `weightedByKey`; the results are floats, lists element by
 * element.
 */
export function meanOfMetrics(parts: readonly WeightedMetrics[], weightedByKey: string): MetricRecord {
  const shares = sharesOf(parts)
  const result = new MetricRecord()
  for (const key of parts[0]?.metrics.keys() ?? []) {
    if (key === weightedByKey) continue
    const values = parts.map((part) => part.metrics.get(key))
    const lists = values.filter(Array.isArray)
    if (lists.length === 0) result.set(key, new Float(weightedSum(values.map(Number), shares)))
    else {
      if (lists.length !== values.length || lists.some((list) => list.length !== lists[0]?.length))
        throw new InconsistentRepliesError(`The metric '${key}' is a list of another length in some replies.`)
      const length = lists[0]?.length ?? 0
      const columns = Array.from({ length }, (_, index) => lists.map((list) => Number(list[index])))
      result.set(
        key,
        columns.map((column) => new Float(weightedSum(column, shares))),
      )
    }
  }
  return result
}

function weightedSum(values: readonly number[], shares: readonly number[]): number {
  return values.map((value, index) => value * (shares[index] as number)).reduce((sum, product) => sum + product)
}

/** The share of each part: its weight divided by the sum of the weights, in double precision. */
export function sharesOf(parts: readonly { weight: number }[]): number[] {
  const total = parts.reduce((sum, { weight }) => sum + weight, 0)
  if (parts.length > 0 && !(total > 0))
    throw new InconsistentRepliesError(
      `The weights of the replies add up to ${total}, which nothing can be divided by.`,
    )
  return parts.map(({ weight }) => weight / total)
}
