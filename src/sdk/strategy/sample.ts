import { setTimeout as delay } from 'node:timers/promises'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'

const pollMs = 500
/** While nothing changes, what is waited for is said this often. */
const remindMs = 10_000

/**
 * Chooses `sampleSize` of the nodes that are online, without replacement, each set as likely as any other. Waits until at
 * least `max(minAvailable, sampleSize)` are.
 */
export async function sampleNodes(
  grid: Pick<Grid, 'getNodeIds'>,
  minAvailable: number,
  sampleSize: (online: number) => number,
  random: () => number = Math.random,
): Promise<{ sampled: bigint[]; online: bigint[] }> {
  let saidAt = Number.NEGATIVE_INFINITY
  let saidCount = -1
  for (;;) {
    const online = await grid.getNodeIds()
    const size = sampleSize(online.length)
    const required = Math.max(minAvailable, size)
    if (online.length >= required) return { sampled: choose(online, size, random), online }
    if (online.length !== saidCount || performance.now() - saidAt > remindMs) {
      log.info(`Waiting for nodes to connect: ${online.length} connected (minimum required: ${required}).`)
      saidAt = performance.now()
      saidCount = online.length
    }
    await delay(pollMs)
  }
}

/** Fisher and Yates, stopped after `size` draws. */
function choose(items: readonly bigint[], size: number, random: () => number): bigint[] {
  const pool = [...items]
  for (let index = 0; index < size; index++) {
    const other = index + Math.floor(random() * (pool.length - index))
    ;[pool[index], pool[other]] = [pool[other] as bigint, pool[index] as bigint]
  }
  return pool.slice(0, size)
}
