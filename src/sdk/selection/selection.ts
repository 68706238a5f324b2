import type { NodeInfo } from '../grid.ts'
import type { NodeHistory } from './node-history.ts'

/** Nodes that a policy has chosen. */
export type Selected = readonly NodeInfo[] & {
  /** The round goes on when that many have replied without an error, and drops the replies of the others. */
  readonly enough?: number
}

/**
 * Chooses nodes for a round among those that are online. Called again if more nodes are needed than it chose, when other
 * nodes are online. `history` tells how each node did in former rounds of this training.
 *
 * @example
 * const largeOnes: SelectNodes = (nodes) => nodes.filter(({ tags }) => Number(tags.beds) > 500)
 */
export type SelectNodes = (nodes: readonly NodeInfo[], round: number, history: NodeHistory) => Selected

/** A {@link SelectNodes} that can be combined. */
export interface SelectionPolicy extends SelectNodes {
  /** The nodes that `next` chooses among those that this policy chooses. */
  and(next: SelectNodes): SelectionPolicy
}

/**
 * Makes a function a policy that can be combined with others.
 *
 * @example
 * select: policy((nodes) => nodes.filter(({ tags }) => tags.gpu === 'yes')).and(random({ count: 10 }))
 */
export function policy(select: SelectNodes): SelectionPolicy {
  return Object.assign(((...args) => select(...args)) satisfies SelectNodes, {
    and: (next: SelectNodes) =>
      policy((nodes, round, history) => {
        const chosen = select(nodes, round, history)
        const last = next(chosen, round, history)
        const enough = Math.min(chosen.enough ?? chosen.length, last.enough ?? last.length)
        return enough < last.length ? Object.assign([...last], { enough }) : last
      }),
  })
}
