import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * For long work on the one thread that everybody shares: what this answers is called now and then, and what that answers
 * is awaited where it is anything; other work goes on then.
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
