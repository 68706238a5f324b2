import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Divides long work, because all work shares one thread. The long work calls the returned function now and then, and awaits
 * what that returns, if anything: other work runs meanwhile.
 *
 * @param sliceMs how long the work may go on in one go, in milliseconds.
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

/** As `map` of a long list, while other work goes on. */
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
