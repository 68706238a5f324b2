import { mkdtempSync, rmSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * A folder for the life of this process. Folders of the same kind whose process was killed are removed on the way, so that
 * they do not pile up.
 */
export async function createTemporaryDirectory(kind: string): Promise<{ path: string } & AsyncDisposable> {
  await removeAbandoned(kind)
  const path = await mkdtemp(prefixOf(kind))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A folder that is needed at once. The program calls `removeAbandoned` for its kind when it starts. */
export function createTemporaryDirectorySync(kind: string): { path: string } & Disposable {
  const path = mkdtempSync(prefixOf(kind))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

function prefixOf(kind: string): string {
  return join(tmpdir(), `${kind}-${process.pid}-`)
}

/** Removes the folders of these kinds whose process has ended. */
export async function removeAbandoned(...kinds: readonly string[]): Promise<void> {
  const pattern = new RegExp(`^(?:${kinds.join('|')})-(\\d+)-`)
  // A machine without a temporary folder has none of these.
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    const pid = pattern.exec(name)?.[1]
    if (pid === undefined || isAlive(Number(pid))) continue
    // A folder of another user stays: we may not remove it.
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {})
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
