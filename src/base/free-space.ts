import { stat, statfs } from 'node:fs/promises'
import type { Clock } from './clock.ts'
import { limits } from './limits.ts'
import type { Logger } from './log.ts'

/** What a look at the disk of a folder shows. */
export interface DiskSpace {
  /** Tells disks apart. */
  readonly disk: number
  readonly freeBytes: number
  readonly totalBytes: number
}

/** A disk at the latest look, with the first folder there. */
export interface KnownDisk {
  readonly folder: string
  readonly freeBytes: number
  readonly lowMarkBytes: number
}

export interface FreeSpaceOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Folders that the program stores in. Two folders of one disk are reported as one, by the first. */
  readonly folders: readonly string[]
  /** Tests replace it. */
  readonly look?: (folder: string) => Promise<DiskSpace>
}

/**
 * Warns before a disk is full: one line when its free space falls below the low mark, and one when it is well above it
 * again. What happens when the disk is full is the business of `StorageRoom`.
 */
export class FreeSpace {
  readonly #options: FreeSpaceOptions
  readonly #look: (folder: string) => Promise<DiskSpace>
  readonly #low = new Set<string>()
  #latest: readonly KnownDisk[] = []

  constructor(options: FreeSpaceOptions) {
    this.#options = options
    this.#look = options.look ?? lookAtDisk
  }

  get disks(): readonly KnownDisk[] {
    return this.#latest
  }

  /** Background job. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#lookAtAll()
      await this.#options.clock.sleep(limits.freeSpaceLookEveryMs, signal).catch(() => {})
    }
  }

  async #lookAtAll(): Promise<void> {
    const seen = new Map<number, KnownDisk>()
    for (const folder of this.#options.folders) {
      try {
        const { disk, freeBytes, totalBytes } = await this.#look(folder)
        if (!seen.has(disk)) seen.set(disk, { folder, freeBytes, lowMarkBytes: lowMarkOf(totalBytes) })
      } catch (error) {
        // The next write reports a folder that is missing or cannot be read.
        this.#options.log.debug(`The free space of ${folder} is not known`, { error })
      }
    }
    this.#latest = [...seen.values()]
    for (const disk of this.#latest) this.#report(disk)
  }

  #report({ folder, freeBytes, lowMarkBytes }: KnownDisk): void {
    const { log } = this.#options
    if (freeBytes < lowMarkBytes && !this.#low.has(folder)) {
      this.#low.add(folder)
      const left = `${mebibytes(freeBytes)} MiB are left on the disk that holds ${folder}`
      log.warn(`${left}: free some space on it or enlarge it. When it is full, nothing can be stored and runs wait.`)
    }
    if (freeBytes >= lowMarkBytes * limits.freeSpaceRecovery && this.#low.delete(folder))
      log.info(`The disk that holds ${folder} has ${mebibytes(freeBytes)} MiB free again`)
  }
}

/** Below so many free bytes a disk is nearly full: 5 % or 1 GiB, whichever is more, but at most a quarter of the disk. */
export function lowMarkOf(totalBytes: number): number {
  const mark = Math.max(limits.freeSpaceLowShare * totalBytes, limits.freeSpaceLowBytes)
  return Math.floor(Math.min(mark, totalBytes / 4))
}

async function lookAtDisk(folder: string): Promise<DiskSpace> {
  const { bavail, bsize, blocks } = await statfs(folder)
  return { disk: (await stat(folder)).dev, freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / (1024 * 1024))
}
