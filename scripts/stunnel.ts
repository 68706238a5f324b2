import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Debian's stunnel and the library that it needs besides, for the tests with a tunnel before Python's SuperNode. */
const packages = {
  'stunnel4=3:5.68-2+deb12u1': 'b645fca2329d96d1a51cdf3dc35be8e3fca5cc2e56e23b0d36de152c2fd71d17',
  'libwrap0=7.6.q-32': 'cbce2669a3ba4d74cfdc52b14f38014893e23d85a33d109a3422c342eefc55f8',
} as const

const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'stunnel-5.68')

/**
 * Unpacks it into `.cache/` where it is missing; nothing is installed. Where it cannot be had it says so, and the test that
 * needs it skips; in CI on Debian 12 for x86-64 that is an error.
 */
export function prepareStunnel(): Record<string, string> {
  try {
    if (!existsSync(complete)) unpack()
    return { TRELLIS_STUNNEL: complete }
  } catch (error) {
    if (process.env.CI === 'true' && isDebian12()) throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`The test with a tunnel is skipped: Debian's stunnel cannot be had: ${reason}\n`)
    return {}
  }
}

/** The system of CI, where all packages are available. */
export function isDebian12(): boolean {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return process.arch === 'x64' && /VERSION_CODENAME=bookworm/.test(release)
}

/** Into a folder of another name, which gets its own when everything is there. */
function unpack(): void {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  const run = (command: string, args: readonly string[]): void =>
    void execFileSync(command, args, { cwd: folder, timeout: 120_000, stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    // A machine may have no lists of packages yet; what counts is whether the download succeeds.
    if (spawnSync('apt-cache', ['show', 'stunnel4']).status !== 0) spawnSync('apt-get', ['update', '-qq'])
    for (const [name, sha256] of Object.entries(packages)) {
      run('apt-get', ['download', '-qq', name])
      const file = readdirSync(folder).find((one) => one.startsWith(`${name.split('=')[0]}_`)) as string
      const digest = createHash('sha256')
        .update(readFileSync(join(folder, file)))
        .digest('hex')
      if (digest !== sha256) throw new Error(`${name} is not what it was`)
      run('dpkg-deb', ['-x', file, folder])
      rmSync(join(folder, file))
    }
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
