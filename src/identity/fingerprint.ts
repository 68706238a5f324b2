import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * What files hold, as one text that changes when any of them does. Directories are read one level deep. Links are followed:
 * Kubernetes swaps the folder behind them. A file that cannot be read is a state like any other.
 */
export async function fingerprintOf(paths: readonly string[]): Promise<string> {
  const parts = await Promise.all(paths.map((path) => fingerprintPath(path, true)))
  return parts.join('\n')
}

/** The folders in which a change of these files is seen. */
export function directoriesOf(paths: readonly string[]): string[] {
  return [...new Set(paths.flatMap((path) => [dirname(path), path]))]
}

async function fingerprintPath(path: string, mayBeDirectory: boolean): Promise<string> {
  try {
    const stats = await stat(path, { bigint: true })
    if (stats.isDirectory()) {
      if (!mayBeDirectory) return ''
      // Hidden files belong to the writer: Kubernetes, or a program that has not finished writing.
      const names = (await readdir(path))
        .filter((name) => !name.startsWith('.'))
        .sort()
        .slice(0, filesMax)
      const inside = await Promise.all(names.map((name) => fingerprintPath(join(path, name), false)))
      return `${path}/ ${names.map((name, index) => `${name} ${inside[index]}`).join(' ')}`
    }
    // What is large is not read every second: the kernel's own account of changes will do.
    if (stats.size > readBytesMax) return `${path} ${stats.dev} ${stats.ino} ${stats.size} ${stats.ctimeNs}`
    return `${path} ${createHash('sha256')
      .update(await readFile(path))
      .digest('base64')}`
  } catch (error) {
    return `${path} ${(error as NodeJS.ErrnoException).code}`
  }
}

const readBytesMax = 1024n * 1024n
const filesMax = 1000
