/**
 * Runs `work` for all items, up to `atOnce` at a time. The first failure aborts the signal of the others, and is thrown when
 * they have ended.
 */
export async function forEachAtOnce<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const source = items[Symbol.iterator]()
  const stop = new AbortController()
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    for (let next = source.next(); !next.done && failures.length === 0; next = source.next()) {
      try {
        await work(next.value, stop.signal)
      } catch (error) {
        failures.push(error)
        stop.abort()
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  if (failures.length > 0) throw failures[0]
}
