import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Debian's Chromium without windows, for the tests of the dashboard. */
const name = 'chromium-headless-shell'
const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'chromium-1')

/**
 * Unpacks Chromium, and the libraries that this machine lacks, into `.cache/`; nothing is installed. apt checks the signatures:
 * the version is that of the day, because Debian keeps no older ones. If it is not available this prints a message, and the
 * tests in a browser are skipped; in CI on Linux that is an error.
 */
export function prepareChromium(): Record<string, string> {
  try {
    if (!existsSync(complete)) unpack()
    return { TRELLIS_CHROMIUM: complete }
  } catch (error) {
    if (process.env.CI === 'true' && process.platform === 'linux') throw error
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    process.stdout.write(`Tests in a browser are skipped: Debian's Chromium is not available: ${reason}\n`)
    return {}
  }
}

/** Into a folder of another name, which gets its own when everything is there. */
function unpack(): void {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { cwd: folder, timeout: 240_000, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  try {
    if (spawnSync('apt-cache', ['show', name]).status !== 0) spawnSync('apt-get', ['update', '-qq'])
    const plan = run('apt-get', ['install', '--simulate', '--no-install-recommends', name])
    const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, one]) => one as string)
    run('apt-get', ['download', '-qq', ...(missing.length > 0 ? missing : [name])])
    for (const file of readdirSync(folder).filter((one) => one.endsWith('.deb'))) {
      run('dpkg-deb', ['-x', file, folder])
      rmSync(join(folder, file))
    }
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
