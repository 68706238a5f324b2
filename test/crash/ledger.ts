import { existsSync, readFileSync } from 'node:fs'

/** What apps have noted. An entry is written after what it says was acknowledged. */
export interface Entry {
  readonly pid: number
  readonly run: string
  /** A ServerApp begins after this round. */
  readonly started?: number
  /** A ServerApp has saved its state after this round. */
  readonly saved?: number
  /** A ServerApp has received the reply to this message. */
  readonly received?: string
  readonly failed?: string
  /** A ClientApp executes this message. */
  readonly executed?: string
}

export function readLedger(path: string): Entry[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line) as Entry)
}

/** What apps saw that must not be, for one run. `nodeKills`: how often its nodes or their apps were killed. */
export function findFaults(entries: readonly Entry[], run: string, nodeKills: number): string[] {
  const own = entries.filter((entry) => entry.run === run)
  return [...lostCheckpoints(own), ...repeats(own, nodeKills)].map((fault) => `run ${run}: ${fault}`)
}

function* lostCheckpoints(entries: readonly Entry[]): Generator<string> {
  let saved = 0
  for (const entry of entries) {
    if (entry.started !== undefined && entry.started < saved)
      yield `its ServerApp began after round ${entry.started}, although round ${saved} was saved`
    saved = Math.max(saved, entry.saved ?? 0)
  }
}

function* repeats(entries: readonly Entry[], nodeKills: number): Generator<string> {
  for (const [message, times] of countBy(entries, ({ received }) => received))
    if (times > 1) yield `the reply to ${message} came ${times} times to a ServerApp`
  let again = 0
  for (const [, times] of countBy(entries, ({ executed }) => executed)) again += times - 1
  // A node that was killed gets the messages again that it had not replied to: at most one of a run is being executed.
  if (again > nodeKills)
    yield `messages were executed ${again} times again, but its nodes were killed ${nodeKills} times`
}

function countBy(entries: readonly Entry[], keyOf: (entry: Entry) => string | undefined): Map<string, number> {
  const counts = new Map<string, number>()
  for (const entry of entries) {
    const key = keyOf(entry)
    if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

/** A line of an app. Notes on its end may repeat the last one. */
export const appLines = /^INFO :\s+line (\d+) (\d+)$/gm

/**
 * Lines of a log that are missing, out of order or there twice. Each process numbers its lines from the first to the last.
 * `repeats`: Flower's Python SDK sends lines again whose response was lost, without a sign of it.
 */
export function findLogFaults(log: string, run: string, { repeats }: { readonly repeats: boolean }): string[] {
  const faults: string[] = []
  const last = new Map<string, number>()
  for (const [, pid = '', text] of log.matchAll(appLines)) {
    const [before, number] = [last.get(pid), Number(text)]
    const isNext = before === undefined || number === before + 1 || (repeats && number <= before)
    if (!isNext) faults.push(`run ${run}: in its log, line ${number} of process ${pid} follows line ${before}`)
    last.set(pid, number)
  }
  return faults
}
