import type { NdArray } from '../../message/nd-array.ts'
import type { ArrayRecord } from '../../message/records.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/**
 * Pairs the arrays of two models, in the order of the first: by name, or by position if a node uses names of its own.
 * Throws an InconsistentRepliesError if their numbers differ.
 */
export function pairedArrays(
  model: ArrayRecord,
  other: ArrayRecord,
): (readonly [name: string, ofModel: NdArray, ofOther: NdArray])[] {
  if (model.size !== other.size)
    throw new InconsistentRepliesError(
      `The replies hold another number of arrays than the model that the nodes received: one has ${model.size}, the other ${other.size}.`,
    )
  const isByName = [...model.keys()].every((name) => other.has(name))
  const inOrder = [...other.values()]
  return [...model].map(
    ([name, array], index) => [name, array, isByName ? other.getArray(name) : (inOrder[index] as NdArray)] as const,
  )
}
