import { type Clock, systemClock } from '../../base/clock.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'

/** How often a grid is asked that answers at once instead of waiting for a change. */
const pollMs = 500
/** While nothing changes, what is waited for is said again this often. */
const remindMs = 60_000

export interface Sample {
  readonly sampled: bigint[]
  readonly online: bigint[]
}

/**
 * Chooses nodes that are online, without replacement, each set as likely as any other: `sizeOf` says how many of that
 * many. Waits, without a bound as Flower does, until at least `minAvailable` and as many as are wanted are online.
 */
export async function sampleNodes(
  grid: Pick<Grid, 'getNodeIds'>,
  minAvailable: number,
  sizeOf: (online: number) => number,
  { random = Math.random, clock = systemClock }: { random?: () => number; clock?: Clock } = {},
): Promise<Sample> {
  const waiting = new Waiting(clock)
  let online = await grid.getNodeIds()
  for (;;) {
    const size = sizeOf(online.length)
    const required = Math.max(minAvailable, size)
    if (online.length >= required) return { sampled: choose(online, size, random), online }
    waiting.say(online.length, required)
    const askedAt = clock.now()
    const knownNodes = online.length
    online = await grid.getNodeIds({ knownNodes })
    const restMs = askedAt + pollMs - clock.now()
    if (online.length === knownNodes && restMs > 0) await clock.sleep(restMs)
  }
}

/** Says what is waited for: at first, when it changes, and now and then since when. */
class Waiting {
  readonly #clock: Clock
  readonly #since: number
  #said = ''
  #saidAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.now()
  }

  say(connected: number, required: number): void {
    const line = `Waiting for nodes to connect: ${connected} connected (minimum required: ${required}).`
    const now = this.#clock.now()
    if (line !== this.#said) log.info(line)
    else if (now - this.#saidAt >= remindMs) log.info(`${line} Waiting since ${new Date(this.#since).toISOString()}.`)
    else return
    this.#said = line
    this.#saidAt = now
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
