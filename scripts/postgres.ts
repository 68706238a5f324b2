import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
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
    if (!existsSync(complete)) unpack()
    const unpacked = findPrograms(join(complete, 'usr', 'lib', 'postgresql'))
    if (unpacked === undefined) throw new Error('the packages hold no initdb of PostgreSQL 14 or later')
    return { TRELLIS_POSTGRES: unpacked, TRELLIS_POSTGRES_LIBRARIES: libraryFolders().join(':') }
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

function libraryFolders(): string[] {
  const libraries = join(complete, 'usr', 'lib')
  return readdirSync(libraries)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(libraries, name))
}

/** The server and libraries; what compiles queries is large, and not needed. */
const wanted = /^(?:postgresql(?:-client)?-\d+|lib(?!llvm|perl|z3).*)$/

/** Into a folder of another name, which is renamed when everything is there. */
function unpack(): void {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { cwd: folder, timeout: 240_000, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  try {
    if (spawnSync('apt-cache', ['show', 'postgresql']).status !== 0)
      spawnSync('apt-get', ['update', '-qq'], { timeout: 120_000 })
    const plan = run('apt-get', ['install', '--simulate', '--no-install-recommends', 'postgresql'])
    const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string)
    run('apt-get', ['download', '-qq', ...missing.filter((name) => wanted.test(name))])
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
      run('dpkg-deb', ['-x', file, folder])
      rmSync(join(folder, file))
    }
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
