export interface Points {
  /** Two coordinates for each point. */
  readonly samples: Float32Array
  /** 1 for points within the circle. */
  readonly labels: Float32Array
}

const count = 120

/** Points in a square, other ones at each node: the network finds out which are within a circle. */
export function pointsOf(nodeId: bigint): Points {
  const samples = new Float32Array(2 * count)
  const labels = new Float32Array(count)
  for (let index = 0; index < count; index++) {
    // Spread evenly, and moved for each node.
    const shift = Number(nodeId % 97n) / 97
    const x = ((index * 0.754877666 + shift) % 1) * 2 - 1
    const y = ((index * 0.569840291 + shift) % 1) * 2 - 1
    samples.set([x, y], 2 * index)
    labels[index] = x * x + y * y < 0.5 ? 1 : 0
  }
  return { samples, labels }
}
