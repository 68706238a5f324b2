/** What people can answer. */
export const options = ['yes', 'rather yes', 'rather no', 'no'] as const

/** The answers at a node, as places in the list of options. Read your own data here. */
export function answersOf(nodeId: bigint): number[] {
  const people = 20 + Number(nodeId % 7n) * 10
  return Array.from({ length: people }, (_, person) => (person * 7 + Number(nodeId % 5n)) % (person % 3 === 0 ? 2 : 4))
}

/** The share of each option among the answers. */
export function sharesOf(answers: readonly number[]): Float32Array {
  const shares = new Float32Array(options.length)
  for (const answer of answers) shares[answer] = (shares[answer] ?? 0) + 1 / answers.length
  return shares
}
