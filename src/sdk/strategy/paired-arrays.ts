import type { NdArray } from '../../message/nd-array.ts'
import type { ArrayRecord } from '../../message/records.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/**
 * Pairs the arrays of a model with those of a reply, in the order of the model: by name, or by position if the node uses
 * names of its own. Throws an InconsistentRepliesError if their numbers differ.
 */
export function pairedArrays(
  model: ArrayRecord,
  reply: ArrayRecord,
): (readonly [name: string, ofModel: NdArray, ofReply: NdArray])[] {
  if (model.size !== reply.size)
    throw new InconsistentRepliesError(
      `The replies hold ${reply.size} arrays, but the model that the nodes received holds ${model.size}.`,
    )
  const isByName = [...model.keys()].every((name) => reply.has(name))
  const inOrder = [...reply.values()]
  return [...model].map(
    ([name, array], index) => [name, array, isByName ? reply.getArray(name) : (inOrder[index] as NdArray)] as const,
  )
}
