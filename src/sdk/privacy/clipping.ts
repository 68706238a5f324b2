import { ArrayRecord } from '../../message/records.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { norm } from '../arithmetic/reductions.ts'
import { arrayOf, converted, newValues, type Tensor, tensorOf } from '../arithmetic/tensor.ts'
import { pairedArrays } from '../strategy/paired-arrays.ts'
import type { Gaussian } from './gaussian.ts'

/** The two steps of differential privacy for models: bound what one node can change, and hide it in noise. */

export interface Clipped {
  readonly arrays: ArrayRecord
  /** Whether the update was longer than the norm. */
  readonly isClipped: boolean
}

/**
 * Shortens the update of a node, the difference of all its arrays from the model that it received, to a Euclidean norm
 * (FlatClip of McMahan et al., "Learning Differentially Private Recurrent Language Models", 2018), and adds it to that
 * model again.
 */
export function clippedModel(model: ArrayRecord, reply: ArrayRecord, clippingNorm: number): Clipped {
  const updates = pairedArrays(reply, model).map(([name, ofReply, ofModel]) => {
    const before = tensorOf(name, ofModel)
    return { name, before, update: minus(tensorOf(name, ofReply), before) }
  })
  const factor = clippingNorm / norm(updates.map(({ update }) => update))
  const isClipped = factor < 1
  const arrays = updates.map(({ name, before, update }) => {
    const kept = isClipped ? scaled(update, factor) : update
    return [name, arrayOf(plus(before, kept))] as const
  })
  return { arrays: new ArrayRecord(arrays), isClipped }
}

/** Adds normal noise to each number. */
export function withNoise(arrays: ArrayRecord, deviation: number, gaussian: Gaussian): ArrayRecord {
  return new ArrayRecord(
    [...arrays].map(([name, array]) => [name, arrayOf(noisy(tensorOf(name, array), deviation, gaussian))] as const),
  )
}

function noisy(tensor: Tensor, deviation: number, gaussian: Gaussian): Tensor {
  const noise = newValues('float64', tensor.values.length)
  for (let index = 0; index < noise.length; index++) noise[index] = 0 + deviation * gaussian()
  const { dtype, shape, fortranOrder } = tensor
  const drawn: Tensor = { dtype: 'float64', shape, fortranOrder: false, values: noise }
  return plus(tensor, converted(drawn, dtype, fortranOrder))
}
