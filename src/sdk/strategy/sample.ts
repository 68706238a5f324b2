import { type Clock, systemClock } from '../../base/clock.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { type Candidates, SelectingGrid } from '../selection/selecting-grid.ts'

/** How often a grid is asked if it returns at once instead of waiting for a change. */
const pollMs = 500
/** While nothing changes, what is waited for is said again this often. */
const remindMs = 60_000

/** The nodes that were chosen, and those that were online. */
export interface Sample {
  readonly sampled: bigint[]
  readonly online: bigint[]
}

/**
 * Chooses nodes that are online, without replacement, each set as likely as any other: `sizeOf` returns how many of that
 * many. Waits, without a bound as Flower does, until at least `minAvailable` and as many as are wanted are online. If the
 * training has a policy (`select`), the nodes are chosen among those of the policy.
 */
export async function sampleNodes(
  grid: Pick<Grid, 'getNodeIds'>,
  minAvailable: number,
  sizeOf: (online: number) => number,
  { random = Math.random, clock = systemClock }: { random?: () => number; clock?: Clock } = {},
): Promise<Sample> {
  const waiting = new Waiting(clock)
  const needed = sizeOf(0)
  let { online, chosen } = await candidatesOf(grid, { needed })
  for (;;) {
    const size = sizeOf(chosen.length)
    if (online >= minAvailable && chosen.length >= size)
      return { sampled: sampled(chosen, size, random), online: chosen }
    if (online === chosen.length) waiting.say(`${online} connected (minimum required: ${Math.max(minAvailable, size)})`)
    else
      waiting.say(
        `${online} connected (minimum: ${minAvailable}), ${chosen.length} of them selected (minimum: ${size})`,
      )
    const askedAt = clock.now()
    const knownNodes = online
    ;({ online, chosen } = await candidatesOf(grid, { needed, knownNodes }))
    const restMs = askedAt + pollMs - clock.now()
    if (online === knownNodes && restMs > 0) await clock.sleep(restMs)
  }
}

async function candidatesOf(
  grid: Pick<Grid, 'getNodeIds'>,
  { needed, ...options }: { needed: number; knownNodes?: number },
): Promise<Candidates> {
  if (grid instanceof SelectingGrid) return grid.candidates({ needed, ...options })
  const chosen = await grid.getNodeIds(options)
  return { online: chosen.length, chosen }
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

  say(count: string): void {
    const line = `Waiting for nodes to connect: ${count}.`
    const now = this.#clock.now()
    if (line !== this.#said) log.info(line)
    else if (now - this.#saidAt >= remindMs) log.info(`${line} Waiting since ${new Date(this.#since).toISOString()}.`)
    else return
    this.#said = line
    this.#saidAt = now
  }
}

/** Some of the items by chance, in any order: Fisher and Yates, stopped after `size` draws. */
export function sampled<T>(items: readonly T[], size: number, random: () => number = Math.random): T[] {
  const pool = [...items]
  for (let index = 0; index < size; index++) {
    const other = index + Math.floor(random() * (pool.length - index))
    ;[pool[index], pool[other]] = [pool[other] as T, pool[index] as T]
  }
  return pool.slice(0, size)
}
