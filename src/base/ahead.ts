/**
 * Loads items in their order, up to `atOnce` of them before they are asked for, and yields each result in that order. A
 * result is let go when the next is asked for. If the loop ends early, the signal of the loads in flight is aborted.
 */
export async function* loadAhead<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  load: (item: T, signal: AbortSignal) => Promise<R>,
  atOnce: number,
): AsyncGenerator<R, void, undefined> {
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  const stop = new AbortController()
  const loading: Promise<{ result: R } | undefined>[] = []
  let isOver = false
  const loadNext = async (): Promise<{ result: R } | undefined> => {
    const next = await source.next()
    if (!next.done) return { result: await load(next.value, stop.signal) }
    isOver = true
    return undefined
  }
  const fill = (): void => {
    while (loading.length < atOnce && !isOver) {
      const one = loadNext()
      // A failure is thrown when its turn comes.
      one.catch(() => {})
      loading.push(one)
    }
  }
  try {
    for (fill(); loading.length > 0; fill()) {
      const loaded = await loading.shift()
      if (loaded) yield loaded.result
    }
  } finally {
    stop.abort()
    // The end of the source is not awaited: the source may still wait for its next item.
    Promise.resolve(source.return?.()).catch(() => {})
  }
}
