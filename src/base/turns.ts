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
