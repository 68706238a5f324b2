import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the traced programs wrote, in the order of time. */
export interface TraceEvent {
  readonly kind: 'program' | 'mark' | 'client' | 'server'
  readonly name: string
  /** In ms since the epoch. */
  readonly at: number
  /** Of calls. */
  readonly endAt?: number
  /** The program that wrote it. */
  readonly program: string
}

export const traceEnvironment = (folder: string): Record<string, string> => ({
  NODE_OPTIONS: `--import ${join(import.meta.dirname, 'trace.mjs')}`,
  TRELLIS_BENCH_TRACE: folder,
})

export function readTrace(folder: string): TraceEvent[] {
  const events = readdirSync(folder).flatMap((file) => {
    const lines = readFileSync(join(folder, file), 'utf8').trim().split('\n')
    const written = lines.map((line) => JSON.parse(line) as Omit<TraceEvent, 'program'>)
    const name = written.find(({ kind }) => kind === 'program')?.name ?? file
    return written.map((event) => ({ ...event, program: name.replace(/^start\.mjs /, '').split(' ')[0] ?? name }))
  })
  return events.toSorted((one, other) => one.at - other.at)
}
