import { join } from 'node:path'
import { type Database, inMemory, type Notices, openDatabase } from '../../src/db/database.ts'

/** What opens databases instead of SQLite, and knows which statements are under way. */
export interface OtherEngine {
  readonly openOnPostgres: (folder: string | undefined, notices: Partial<Notices>) => Promise<Database>
  readonly statementsUnderWay: () => number
}

let other: OtherEngine | undefined

/** The tests of this process that are begun from now on use this engine. */
export function useEngine(engine: OtherEngine): void {
  other = engine
}

/** Why a test that looks at statements of SQLite is skipped; evaluated while the tests of a file are declared. */
export function onlyWithSqlite(): string | false {
  return other ? 'it looks at statements of SQLite' : false
}

/** Opens a database of its own for a test, or that of a folder: in SQLite, or what `useEngine` says. */
export async function openTestDatabase(folder?: string, notices: Partial<Notices> = {}): Promise<Database> {
  if (other) return other.openOnPostgres(folder, notices)
  return openDatabase({
    path: folder === undefined ? inMemory : join(folder, 'state.db'),
    survives: 'crash',
    ...notices,
  })
}

/** Lets everything that is under way go on, files included. Turns in which a database server works do not count. */
export async function settled(turns = 50): Promise<void> {
  const endsAt = performance.now() + patienceMs
  for (let turn = 0; turn < turns; ) {
    await new Promise((resolve) => setImmediate(resolve))
    if (performance.now() > endsAt) throw new Error('A statement has not ended, or the next ones begin without a pause')
    if ((other?.statementsUnderWay() ?? 0) > 0) turn = 0
    else turn++
  }
}

/** How long a database server on a busy machine may take. */
const patienceMs = 120_000
