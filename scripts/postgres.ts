import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { libraryPath, unpackPackage } from './debian.ts'
import { isDebian12 } from './stunnel.ts'

const installed = '/usr/lib/postgresql'
const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'postgresql-1')

/**
 * Returns where the programs of PostgreSQL are: those that Debian has installed, else Debian's packages, which are unpacked into
 * `.cache/` with the libraries that this machine lacks. apt checks the signatures. If they are not available this prints a
 * message, and the tests with PostgreSQL are skipped; in CI on Debian 12 it throws. PostgreSQL does not run as root: if other
 * users cannot enter `.cache/`, because the clone is in a private folder, root gets a copy in the folder for temporary files.
 */
export function preparePostgres(): Record<string, string> {
  try {
    const bin = findPrograms(installed)
    if (bin !== undefined) return { TRELLIS_POSTGRES: bin }
    if (!existsSync(complete)) unpackPackage('postgresql', complete, wanted)
    const isPrivate = process.getuid?.() === 0 && !isOpenToAll(complete)
    const folder = isPrivate ? copyForAll(complete, join(tmpdir(), 'trellis-postgresql-1')) : complete
    const unpacked = findPrograms(join(folder, 'usr', 'lib', 'postgresql'))
    if (unpacked === undefined) throw new Error('the packages hold no initdb of PostgreSQL 14 or later')
    return { TRELLIS_POSTGRES: unpacked, TRELLIS_POSTGRES_LIBRARIES: libraryPath(folder) }
  } catch (error) {
    if (process.env.CI === 'true' && isDebian12()) throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`The tests with PostgreSQL are skipped: Debian's packages are not available: ${reason}\n`)
    return {}
  }
}

/** Whether every user may enter this folder and all those that it is in. */
export function isOpenToAll(folder: string): boolean {
  const real = realpathSync(folder)
  const isOpen = (statSync(real).mode & 0o1) !== 0
  return isOpen && (dirname(real) === real || isOpenToAll(dirname(real)))
}

/** Returns a copy at `target`, which may be there from an earlier call. One that another user has put there is refused. */
export function copyForAll(folder: string, target: string): string {
  const copy = `${target}.${process.pid}`
  try {
    if (!existsSync(target)) {
      execFileSync('cp', ['-a', folder, copy])
      renameSync(copy, target)
    }
  } catch (error) {
    // Another process was faster.
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  const { uid } = lstatSync(target)
  if (uid !== process.getuid?.()) throw new Error(`${target} belongs to another user; remove it`)
  return target
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
