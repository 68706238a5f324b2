import { ArrayRecord, MetricRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { arrayOf, isFloat, newValues, type RealType, type Tensor, tensorOf, valuesIn } from '../arithmetic/tensor.ts'
import type { MaskedVector } from './masked-vector.ts'

/**
 * Numbers as whole numbers that can be added modulo a power of 2. Values of a model are differences from the model that the
 * node received, clipped, multiplied by the weight of the node, and rounded to the nearest step. Weights and metrics have 32
 * binary digits behind the point.
 */

/** What the node cannot do: it replies with an error, and is left out of the round. */
export class RefusedByNodeError extends Error {}

export interface Scale {
  /** Larger changes of a value are clipped. */
  readonly clippingRange: number
  /** The binary digits of a value. */
  readonly bits: number
}

/** The difference between two neighbouring values. */
export function stepOf({ clippingRange, bits }: Scale): number {
  return clippingRange / (2 ** (bits - 1) - 1)
}

const one = 2 ** 32
/** Weighted metrics may be as large, so that the sum of 2^11 nodes fits in 64 bits. */
const metricMax = 2 ** 20

/** Rounds a weight, which is a part of the largest weight, as it is added up. */
export function roundedShare(share: number): number {
  return Math.floor(share * one + 0.5) / one
}

/** A weighted metric as it is added up. Throws a {@link RefusedByNodeError} for numbers that are too large, or not finite. */
export function fixedMetric(name: string, value: number): bigint {
  if (Number.isFinite(value) && Math.abs(value) <= metricMax) return BigInt(Math.floor(value * one + 0.5))
  throw new RefusedByNodeError(
    `The metric '${name}' is ${value}: secure aggregation adds up finite metrics whose product with the node's share of maxWeight is at most ${metricMax}. Do not return it, or in another unit.`,
  )
}

/** The number that a sum modulo 2^64 stands for. */
export function metricOf(sum: bigint): number {
  return Number(BigInt.asIntN(64, sum)) / one
}

/** How many values a model has. Throws a TypeError for arrays that are not of floats. */
export function valueCount(model: ArrayRecord): number {
  return [...model].reduce((count, [name, array]) => {
    const { dtype } = tensorOf(name, array)
    if (!isFloat(dtype))
      throw new TypeError(
        `The array '${name}' holds ${dtype}: secure aggregation takes float16, float32 and float64. Keep it at the nodes (personalLayers), or convert it.`,
      )
    return count + array.shape.reduce((product, length) => product * length, 1)
  }, 0)
}

/** Writes the update of a node, times its weight. Returns how many values were clipped. */
export function encodeUpdate(
  { current, trained }: { current: ArrayRecord; trained: ArrayRecord },
  share: number,
  scale: Scale,
  into: Uint32Array,
): number {
  const { clippingRange: range } = scale
  const factor = share / stepOf(scale)
  let [position, clipped] = [0, 0]
  for (const [name, array] of current) {
    const [before, after] = [rowsOf(name, current), rowsOf(name, trained)]
    const other = trained.getArray(name)
    if (!isFloat(after.dtype) || other.shape.join() !== array.shape.join())
      throw new RefusedByNodeError(
        `The array '${name}' of the reply is ${after.dtype} (${other.shape.join(', ')}), but the model has ${before.dtype} (${array.shape.join(', ')}).`,
      )
    for (let index = 0; index < before.values.length; index++) {
      const change = (after.values[index] as number) - (before.values[index] as number)
      if (!Number.isFinite(change))
        throw new RefusedByNodeError(`The array '${name}' of the reply holds a number that is not finite.`)
      const kept = Math.max(-range, Math.min(range, change))
      if (kept !== change) clipped++
      into[position++] = Math.floor(kept * factor + 0.5)
    }
  }
  return clipped
}

/** The mean model: the current one plus the sum of the updates, divided by the sum of the weights. */
export function decodeMean(current: ArrayRecord, sum: Uint32Array, shares: number, scale: Scale): ArrayRecord {
  const factor = stepOf(scale) / shares
  let position = 0
  const arrays = [...current].map(([name, array]) => {
    const { dtype, values: before } = rowsOf(name, current)
    const values = newValues(dtype, before.length)
    for (let index = 0; index < values.length; index++)
      values[index] = (before[index] as number) + ((sum[position++] as number) | 0) * factor
    return [name, arrayOf({ dtype, shape: array.shape, fortranOrder: false, values })] as const
  })
  return new ArrayRecord(arrays)
}

function rowsOf(name: string, arrays: ArrayRecord): { dtype: RealType; values: Tensor['values'] } {
  const tensor = tensorOf(name, arrays.getArray(name))
  return { dtype: tensor.dtype, values: valuesIn(tensor, false) }
}

/** The names of the metrics that are added up, and how long their lists are; -1 is a single number. */
export interface MetricLayout {
  readonly names: readonly string[]
  readonly lengths: readonly number[]
}

/** In front of the metrics: the share of the node, and the part of its values that was clipped. */
export const ownMetrics = 2

/** The metrics of a reply without its weight, by name. */
export function layoutOf(metrics: MetricRecord, weightedBy: string): MetricLayout {
  const names = [...metrics.keys()].filter((name) => name !== weightedBy).sort()
  const lengths = names.map((name) => {
    const value = metrics.get(name)
    return Array.isArray(value) ? value.length : -1
  })
  return { names, lengths }
}

/** How many numbers are added up for these metrics. */
export function metricCount({ lengths }: MetricLayout): number {
  return lengths.reduce((sum, length) => sum + Math.abs(length), ownMetrics)
}

/** Writes the share, the clipped part, and the metrics times the share. */
export function encodeMetrics(
  metrics: MetricRecord,
  { names }: MetricLayout,
  { share, clippedPart }: { share: number; clippedPart: number },
  into: BigUint64Array,
): void {
  const flat = names.flatMap((name) => [metrics.get(name) ?? []].flat().map((value) => [name, Number(value)] as const))
  const all = [
    ['share', share],
    ['clipped', clippedPart],
    ...flat.map(([name, value]) => [name, value * share]),
  ] as const
  all.forEach(([name, value], index) => {
    into[index] = BigInt.asUintN(64, fixedMetric(name as string, value as number))
  })
}

/** The weighted means of the metrics. */
export function decodeMetrics(
  { metrics }: MaskedVector,
  { names, lengths }: MetricLayout,
  shares: number,
): MetricRecord {
  let position = ownMetrics
  const next = (): number => metricOf(metrics[position++] as bigint) / shares
  const record = new MetricRecord()
  names.forEach((name, index) => {
    const length = lengths[index] as number
    record.set(name, length === -1 ? float(next()) : Array.from({ length }, () => float(next())))
  })
  return record
}
