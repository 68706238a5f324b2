import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { libraryPath, unpackPackage } from './debian.ts'
import { isDebian12 } from './stunnel.ts'

const installed = '/usr/lib/postgresql'
const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'postgresql-1')

/**
 * Returns where the programs of PostgreSQL are: those that Debian has installed, else Debian's packages, which are unpacked into
 * `.cache/` with the libraries that this machine lacks. apt checks the signatures. If they are not available this prints a
 * message, and the tests with PostgreSQL are skipped; in CI on Debian 12 it throws.
 */
export function preparePostgres(): Record<string, string> {
  try {
    const bin = findPrograms(installed)
    if (bin !== undefined) return { TRELLIS_POSTGRES: bin }
    if (!existsSync(complete)) unpackPackage('postgresql', complete, wanted)
    const unpacked = findPrograms(join(complete, 'usr', 'lib', 'postgresql'))
    if (unpacked === undefined) throw new Error('the packages hold no initdb of PostgreSQL 14 or later')
    return { TRELLIS_POSTGRES: unpacked, TRELLIS_POSTGRES_LIBRARIES: libraryPath(complete) }
  } catch (error) {
    if (process.env.CI === 'true' && isDebian12()) throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`The tests with PostgreSQL are skipped: Debian's packages are not available: ${reason}\n`)
    return {}
  }
}

/** The folder with the programs of the newest release. */
function findPrograms(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined
  const [newest] = readdirSync(folder)
    .filter((version) => Number(version) >= 14 && existsSync(join(folder, version, 'bin', 'initdb')))
    .toSorted((one, other) => Number(other) - Number(one))
  return newest === undefined ? undefined : join(folder, newest, 'bin')
}

/** The server and libraries; what compiles queries is large, and not needed. */
const wanted = /^(?:postgresql(?:-client)?-\d+|lib(?!llvm|perl|z3).*)$/
