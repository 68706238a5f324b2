import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Returns a function with which long work pauses, because all work shares one thread. The long work calls it often. If it
 * returns a promise, the long work awaits it, and other work runs meanwhile.
 *
 * @param sliceMs how long the work may run without a pause, in milliseconds.
 */
export function takeTurns(sliceMs = 5): () => Promise<void> | undefined {
  let pauseAt = performance.now() + sliceMs
  return () => {
    if (performance.now() < pauseAt) return undefined
    return nextTurn().then(() => {
      pauseAt = performance.now() + sliceMs
    })
  }
}

/** Maps a long list like `Array.map`, with pauses for other work. */
export async function mapInTurns<T, R>(list: readonly T[], map: (one: T, index: number) => R): Promise<R[]> {
  const turn = takeTurns()
  const mapped: R[] = []
  for (const [index, one] of list.entries()) {
    const pause = turn()
    if (pause) await pause
    mapped.push(map(one, index))
  }
  return mapped
}
