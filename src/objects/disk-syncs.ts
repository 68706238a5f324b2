import { open } from 'node:fs/promises'
import { AtOnce } from '../base/at-once.ts'
import { limits } from '../base/limits.ts'

/** Resolves when what was written to a file, or the names in a folder, are on disk. */
export interface Disk {
  syncFile(file: { datasync(): Promise<void> }): Promise<void>
  syncFolder(path: string): Promise<void>
}

export const disk: Disk = {
  syncFile: (file) => file.datasync(),
  async syncFolder(path) {
    const folder = await open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
}

/**
 * Waits for the disk, for a few files at a time: each wait takes a thread of the pool, and commits of the database need one
 * too. Callers that wait for the same folder share a sync that has not begun.
 */
export class DiskSyncs implements Disk {
  readonly #disk: Disk
  readonly #syncing = new AtOnce(limits.diskSyncsAtOnce)
  /** Syncs of folders that have not begun. */
  readonly #shared = new Map<string, Promise<void>>()

  constructor(on: Disk = disk) {
    this.#disk = on
  }

  syncFile(file: Parameters<Disk['syncFile']>[0]): Promise<void> {
    return this.#inTurn(() => this.#disk.syncFile(file))
  }

  syncFolder(path: string): Promise<void> {
    const shared = this.#shared.get(path)
    if (shared) return shared
    const sync = this.#inTurn(() => {
      this.#shared.delete(path)
      return this.#disk.syncFolder(path)
    })
    this.#shared.set(path, sync)
    return sync
  }

  async #inTurn(sync: () => Promise<void>): Promise<void> {
    // A turn of the event loop, so that callers can share.
    await Promise.resolve()
    await this.#syncing.run(sync)
  }
}
