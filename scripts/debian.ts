import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Unpacks a package of Debian, and what this machine lacks of its dependencies, into a folder; nothing is installed. apt
 * checks the signatures. `wanted` chooses among these packages.
 */
export function unpackPackage(name: string, complete: string, wanted: RegExp = /./): void {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { cwd: folder, timeout: 240_000, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  try {
    const update = (): void => void spawnSync('apt-get', ['update', '-qq'], { timeout: 120_000 })
    const download = (): void => {
      const plan = run('apt-get', ['install', '--simulate', '--no-install-recommends', name])
      const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, one]) => one as string)
      const names = missing.filter((one) => wanted.test(one))
      // If everything is installed already, the package itself is unpacked all the same.
      run('apt-get', ['download', '-qq', ...(names.length > 0 ? names : [name])])
    }
    if (spawnSync('apt-cache', ['show', name]).status !== 0) update()
    try {
      download()
    } catch {
      // The lists of this machine name a release of a package that the mirror has replaced meanwhile.
      update()
      download()
    }
    for (const file of readdirSync(folder).filter((one) => one.endsWith('.deb'))) {
      run('dpkg-deb', ['-x', file, folder])
      rmSync(join(folder, file))
    }
    // Into a folder of another name, which is renamed when everything is there.
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The folders with the libraries of unpacked packages, as LD_LIBRARY_PATH lists them. */
export function libraryPath(complete: string): string {
  return [join(complete, 'usr', 'lib'), join(complete, 'lib')]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => path.endsWith('-linux-gnu'))
    .join(':')
}
