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

/** The wait after so many failures in a row, doubling under a cap: for work of the background, of which there is one. */
export function pauseAfter(failures: number, { baseMs, capMs }: { baseMs: number; capMs: number }): number {
  return Math.min(capMs, baseMs * 2 ** (failures - 1))
}
