import { randomFrom } from '../harness/random.ts'

/** What is killed; each by SIGKILL unless it says otherwise. */
export const victims = [
  'SuperLink',
  'SuperLink by SIGTERM',
  'SuperNode',
  'SuperNode by SIGTERM',
  'SuperExec',
  'ServerApp',
  'ClientApp',
] as const
export type Victim = (typeof victims)[number]

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

/** Draws kills, half of those of SuperLink and SuperNode at a chosen point. The same for the same seed. */
export function* drawKills(seed: number): Generator<Kill, never> {
  const random = randomFrom(seed)
  for (;;) {
    const victim = victims[random(victims.length)] as Victim
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
