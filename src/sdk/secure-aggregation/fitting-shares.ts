/**
 * What a number of nodes that is enough gives: first of the nodes in front, and if the secrets do not fit together, of others.
 * A node that has sent wrong shares is left out so, as long as enough others are there.
 */
export interface Fitting<T> {
  readonly secrets: T
  /** Nodes whose shares do not fit to the others. */
  readonly wrong: readonly bigint[]
}

/** `secretsOf` throws if the shares of these nodes do not fit together. Throws the same if those of no nodes in a row do. */
export function fittingShares<T>(
  nodes: readonly bigint[],
  threshold: number,
  secretsOf: (chosen: readonly bigint[]) => T,
): Fitting<T> {
  const circle = [...nodes, ...nodes]
  let failure: unknown
  for (let from = 0; from < nodes.length; from++) {
    const chosen = circle.slice(from, from + threshold)
    try {
      const secrets = secretsOf(chosen)
      const others = from === 0 ? [] : nodes.filter((node) => !chosen.includes(node))
      return { secrets, wrong: others.filter((node) => !fits([...chosen.slice(1), node], secretsOf)) }
    } catch (error) {
      failure ??= error
      // All of them were in the first try.
      if (nodes.length === threshold) break
    }
  }
  throw failure
}

function fits(nodes: readonly bigint[], secretsOf: (chosen: readonly bigint[]) => unknown): boolean {
  try {
    secretsOf(nodes)
    return true
  } catch {
    return false
  }
}

/** How many of the sampled nodes must come through a stage: a part of them, and always more than half. */
export function thresholdOf(part: number, nodes: number): number {
  return Math.max(Math.ceil(part * nodes), Math.floor(nodes / 2) + 1)
}
