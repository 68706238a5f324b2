import { randomFrom } from '../harness/random.ts'

/** What is killed; each by SIGKILL unless it says otherwise. Of several SuperLinks, it is the one that serves. */
export type Victim =
  | 'SuperLink'
  | 'SuperLink by SIGTERM'
  | 'SuperLink on standby'
  /** The server ends the connections of all SuperLinks. */
  | 'database connections'
  | 'SuperNode'
  | 'SuperNode by SIGTERM'
  | 'SuperExec'
  | 'ServerApp'
  | 'ClientApp'

/** What is killed in a fleet with one SuperLink, each as likely as the others. */
export const victims: readonly Victim[] = [
  'SuperLink',
  'SuperLink by SIGTERM',
  'SuperNode',
  'SuperNode by SIGTERM',
  'SuperExec',
  'ServerApp',
  'ClientApp',
]

/** With several SuperLinks, half of the kills take the database from the one that serves. */
export const victimsOfSeveral: readonly Victim[] = [
  'SuperLink',
  'SuperLink',
  'SuperLink',
  'SuperLink by SIGTERM',
  'SuperLink by SIGTERM',
  'database connections',
  'SuperLink on standby',
  'SuperNode',
  'SuperNode by SIGTERM',
  'SuperExec',
  'ServerApp',
  'ClientApp',
]

/** Where a SuperLink or SuperNode kills itself; see `fault-points.mjs`. */
export const points = [
  'before-commit',
  'after-commit',
  'before-sync',
  'after-sync',
  'before-rename',
  'after-rename',
  'before-acknowledgement',
  'after-acknowledgement',
] as const
export type Point = (typeof points)[number]

export interface Kill {
  readonly victim: Victim
  /** Absent for a kill at a random moment. */
  readonly point?: Point
  /** How often the point is passed before. */
  readonly passes: number
  /** Pause before a kill at a random moment. */
  readonly delayMs: number
  /** Which of several processes, modulo their number. */
  readonly which: number
}

/** Draws kills, half of those of SuperLink and SuperNode at a chosen point: the same for the same seed and victims. */
export function* drawKills(seed: number, among: readonly Victim[] = victims): Generator<Kill, never> {
  const random = randomFrom(seed)
  for (;;) {
    const victim = among[random(among.length)] as Victim
    const point = points[random(points.length)] as Point
    const isAtPoint = random(2) === 0 && (victim === 'SuperLink' || victim === 'SuperNode')
    yield {
      ...{ victim, passes: 1 + random(12), delayMs: random(400), which: random(1000) },
      // A SuperNode has its database in memory.
      ...(isAtPoint && !(victim === 'SuperNode' && point.endsWith('sync')) ? { point } : {}),
    }
  }
}

export function describeKill({ victim, point, passes, delayMs }: Kill): string {
  return point ? `${victim} ${point}, after ${passes} of them` : `${victim} after ${delayMs} ms`
}
