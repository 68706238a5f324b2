/**
 * The waits between tries: full jitter under a doubling cap (1, 2, 4 … `capMs`), as Flower's clients do.
 * Pure but for `random`, which tests replace.
 */
export function* backoffMs(
  options: { baseMs?: number; capMs?: number; random?: () => number } = {},
): Generator<number, never> {
  const { baseMs = 1000, capMs = 20_000, random = Math.random } = options
  for (let ceiling = baseMs; ; ceiling = Math.min(ceiling * 2, capMs)) yield random() * ceiling
}
