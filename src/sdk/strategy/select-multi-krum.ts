import type { ArrayRecord } from '../../message/records.ts'
import { compareNanLast } from '../arithmetic/columns.ts'
import { squaredDistances } from '../arithmetic/distances.ts'

/** A reply of which a selection looks at the arrays only. */
interface WithArrays {
  readonly arrays: ArrayRecord
}

/**
 * Chooses the `select` replies whose models are nearest to others, the best first: the score of a model is the sum of
 * its squared distances from the n - f - 2 nearest others, for n replies of which f may be malicious. Of two as good, the
 * one of the earlier node is better.
 */
export function selectMultiKrum<R extends WithArrays>(replies: readonly R[], malicious: number, select: number): R[] {
  const { distances, sum } = squaredDistances(replies.map(({ arrays }) => arrays))
  const nearest = Math.max(1, replies.length - malicious - 2)
  // The smallest distance in a row is taken for the one of a model from itself.
  const scores = distances.map((row) => sum(row.toSorted(compareNanLast).slice(1, nearest + 1)))
  const order = replies.map((_, index) => index).sort((a, b) => compareNanLast(scores[a], scores[b]))
  return order.slice(0, select).map((index) => replies[index] as R)
}
