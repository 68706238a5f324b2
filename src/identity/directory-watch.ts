import { type FSWatcher, statSync, watch } from 'node:fs'
import { join } from 'node:path'

/**
 * Tells that something in some folders may have changed. No more than a hint: watches fail, miss swaps of links in network
 * file systems, and hold on to a folder that was replaced. So its user also looks by itself now and then, and calls `arm`.
 */
export class DirectoryWatch implements Disposable {
  readonly #watched = new Map<string, { watcher: FSWatcher; inode: number }>()
  readonly #onHint: (path: string) => void

  /** `onHint` is called with the path of what may have changed in a folder, or of the folder if the system does not say. */
  constructor(onHint: (path: string) => void) {
    this.#onHint = onHint
  }

  /** Watches exactly these folders; what is not there, or no folder, is left out until the next call. */
  arm(directories: readonly string[]): void {
    for (const path of this.#watched.keys()) if (!directories.includes(path)) this.#forget(path)
    for (const path of directories.slice(0, directoriesMax)) this.#ensure(path)
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#watched.keys()]) this.#forget(path)
  }

  #ensure(path: string): void {
    const stats = statSync(path, { throwIfNoEntry: false })
    const known = this.#watched.get(path)
    if (known && known.inode === stats?.ino) return
    this.#forget(path)
    if (!stats?.isDirectory()) return
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => this.#onHint(join(path, name ?? '.')))
      watcher.on('error', () => this.#forget(path))
      this.#watched.set(path, { watcher, inode: stats.ino })
    } catch {
      // The system has no watch left to give.
    }
  }

  #forget(path: string): void {
    this.#watched.get(path)?.watcher.close()
    this.#watched.delete(path)
  }
}

const directoriesMax = 32
