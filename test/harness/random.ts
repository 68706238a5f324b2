/** Whole numbers from 0 to below `below`, the same for the same seed: mulberry32. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** The items in another order, each order as likely as any: Fisher and Yates. */
export function shuffle<T>(items: readonly T[], random: (below: number) => number): T[] {
  const shuffled = [...items]
  for (let last = shuffled.length - 1; last > 0; last--) {
    const chosen = random(last + 1)
    ;[shuffled[last], shuffled[chosen]] = [shuffled[chosen] as T, shuffled[last] as T]
  }
  return shuffled
}
