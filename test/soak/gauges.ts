import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a long run of a SuperLink and its SuperNodes must not use more and more of. */
export const gauges = [
  'superlinkMemory',
  'supernodeMemory',
  'superexecMemory',
  'superlinkHandles',
  'supernodeHandles',
  'superexecHandles',
  'database',
  'writeAheadLog',
  'disk',
] as const
export type Gauge = (typeof gauges)[number]

export interface Sample {
  readonly atSeconds: number
  readonly values: Readonly<Record<Gauge, number>>
}

export interface Watched {
  readonly superlink: number
  readonly supernode: number
  readonly superexec: number
  /** Of the SuperLink. */
  readonly database: string
  /** Holds all that the programs write. */
  readonly folder: string
}

export function look({ superlink, supernode, superexec, database, folder }: Watched): Sample['values'] {
  return {
    superlinkMemory: memoryOf(superlink),
    supernodeMemory: memoryOf(supernode),
    superexecMemory: memoryOf(superexec),
    superlinkHandles: handlesOf(superlink),
    supernodeHandles: handlesOf(supernode),
    superexecHandles: handlesOf(superexec),
    database: sizeOf(database),
    writeAheadLog: sizeOf(`${database}-wal`),
    disk: sizeOf(folder) - sizeOf(`${database}-wal`),
  }
}

/** Without what is mapped from files: of that, the system takes back what it needs. */
function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

function handlesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Of a file, or of all files below a folder. What goes away meanwhile has no size. */
function sizeOf(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat?.isDirectory()) return stat?.size ?? 0
  return namesIn(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
