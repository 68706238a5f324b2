/**
 * Loads items in their order, up to `atOnce` of them before they are asked for, and yields each result in that order. A
 * result is let go when the next is asked for. If the loop ends early, the signal of the loads in flight is aborted.
 */
export async function* loadAhead<T, R>(
  items: Iterable<T>,
  load: (item: T, signal: AbortSignal) => Promise<R>,
  atOnce: number,
): AsyncGenerator<R, void, undefined> {
  const source = items[Symbol.iterator]()
  const stop = new AbortController()
  const loading: Promise<R>[] = []
  const fill = (): void => {
    while (loading.length < atOnce) {
      const next = source.next()
      if (next.done) return
      const result = load(next.value, stop.signal)
      // A failure is thrown when its turn comes.
      result.catch(() => {})
      loading.push(result)
    }
  }
  try {
    for (fill(); loading.length > 0; fill()) yield await (loading.shift() as Promise<R>)
  } finally {
    stop.abort()
  }
}
