/** What several measurements of one figure gave: the median, and between which bounds all of them were. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Figures with a spread in the place of each number. Texts are those of the first measurement. */
export type Spreads<T> = T extends number
  ? Spread
  : T extends readonly (infer U)[]
    ? readonly Spreads<U>[]
    : T extends object
      ? { readonly [K in keyof T]: Spreads<T[K]> }
      : T

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.filter((value) => !Number.isNaN(value)).toSorted((one, other) => one - other)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  const median = sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}

/** Merges figures of the same shape. A figure that some measurements lack is merged from the others. */
export function spreadsOf<T>(measured: readonly T[]): Spreads<T> {
  const present = measured.filter((one) => one !== undefined && one !== null)
  const [first] = present
  const merge = (): unknown => {
    if (typeof first === 'number') return spreadOf(present as unknown as number[])
    if (Array.isArray(first)) return first.map((_, index) => spreadsOf(present.map((one) => (one as unknown[])[index])))
    if (typeof first !== 'object' || first === null) return first
    const keys = new Set(present.flatMap((one) => Object.keys(one as object)))
    const at = (key: string): unknown[] => present.map((one) => (one as Record<string, unknown>)[key])
    return Object.fromEntries([...keys].map((key) => [key, spreadsOf(at(key))]))
  }
  return merge() as Spreads<T>
}

/**
 * Measures several times, one after the other: at least once, and not again if that would probably end after `endsBefore`, by
 * `performance.now()`.
 */
export async function repeat<T>(
  times: number,
  measure: (index: number) => T | Promise<T>,
  endsBefore = Number.POSITIVE_INFINITY,
): Promise<Spreads<T>> {
  const measured: T[] = []
  for (let index = 0, tookMs = 0; index < times; index++) {
    const startedAt = performance.now()
    if (index > 0 && startedAt + tookMs > endsBefore) {
      process.stderr.write(`Measured ${index} of ${times} times: this machine is slow, or busy.\n`)
      break
    }
    measured.push(await measure(index))
    tookMs = performance.now() - startedAt
  }
  return spreadsOf(measured)
}

/** The median, with the bounds if they differ from it as it is written; a dash for what was not measured. */
export function spreadText(spread: Spread | undefined, digits: number): string {
  // Figures that an earlier release has kept may lack some.
  if (!Number.isFinite(spread?.median)) return '–'
  const { median, min, max } = spread as Spread
  const [middle, from, to] = [median, min, max].map((value) => value.toFixed(digits))
  return from === to || middle === undefined ? `${middle}` : `${middle} (${from} to ${to})`
}
