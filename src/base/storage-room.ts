import { randomUUID } from 'node:crypto'
import { open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { Bell } from './bell.ts'
import type { Clock } from './clock.ts'
import { isDiskFull, unwritableReason } from './full-disk.ts'
import { limits } from './limits.ts'
import type { Logger } from './log.ts'
import { LogThrottle } from './log-throttle.ts'

export interface StorageRoomOptions {
  readonly clock: Clock
  readonly log: Logger
  /** By which leases are judged; defaults to the clock. */
  readonly leaseClock?: { now(): number }
  /** Called after a disk became full, and after there is room again. */
  readonly onChange?: () => void
  /** Whether so many bytes can be written into the folder; tests replace it. */
  readonly hasRoom?: (folder: string, bytes: number) => Promise<boolean>
}

/**
 * Knows whether the disks that a program stores on are full, or its database server cannot be reached. Stores report it; the watch reports it to the operator once a
 * minute, tries every few seconds whether there is room again, and ends the outage. It does not stop writes: each is tried.
 */
export class StorageRoom {
  readonly #options: StorageRoomOptions
  readonly #hasRoom: (folder: string, bytes: number) => Promise<boolean>
  readonly #throttle: LogThrottle
  readonly #changed = new Bell<'full'>()
  /** Folders, and how many bytes must fit there before work goes on. */
  readonly #full = new Map<string, number>()
  /** Why folders that are not full cannot be written. */
  readonly #reasons = new Map<string, string>()
  #fullSince: number | undefined
  /** Why a database server cannot be reached. */
  #lost: string | undefined
  /** The last outage that ended: what was enough room then, by folder. */
  #before: { readonly endedAt: number; readonly enough: ReadonlyMap<string, number> } | undefined

  constructor(options: StorageRoomOptions) {
    this.#options = options
    this.#hasRoom = options.hasRoom ?? hasRoom
    this.#throttle = new LogThrottle(options.clock)
  }

  /** Whether nothing can be stored: a disk is full, or a database server cannot be reached. */
  get isFull(): boolean {
    return this.#fullSince !== undefined
  }

  /** Since when nothing can be stored; `undefined` while all is well. */
  get fullSince(): number | undefined {
    return this.#fullSince
  }

  /** Why the program cannot do its work, with the remedy; `undefined` while it can. */
  get trouble(): string | undefined {
    if (this.#lost !== undefined) return this.#lost
    const [folder] = this.#full.keys()
    if (folder === undefined) return undefined
    const reason = this.#reasons.get(folder)
    return reason === undefined
      ? `The disk that holds ${folder} is full: free some space on it.`
      : `What ${folder} holds cannot be written, because ${reason}.`
  }

  /**
   * The instant by which leases and heartbeats are judged. It stands still while nothing can be stored: they cannot be prolonged
   * then, and no program should lose its work because of that.
   */
  leaseNow(): number {
    const { clock, leaseClock = clock } = this.#options
    return this.#fullSince ?? leaseClock.now()
  }

  /** A write of so many bytes into the folder has failed. */
  noteFull(folder: string, bytes = 0): void {
    this.#begin(() => {
      this.#full.set(folder, Math.max(bytes, this.#full.get(folder) ?? this.#leastRoom(folder)))
    })
  }

  /** A write into the folder has failed for a reason that may go away, which is the rest of a sentence with the remedy. */
  noteUnwritable(folder: string, reason: string): void {
    this.#reasons.set(folder, reason)
    this.noteFull(folder)
  }

  /** What a store that writes into the folder reports. */
  noticesOf(folder: string): { onFull: (bytes?: number) => void; onUnwritable: (reason: string) => void } {
    return {
      onFull: (bytes) => this.noteFull(folder, bytes),
      onUnwritable: (reason) => this.noteUnwritable(folder, reason),
    }
  }

  /** The database server cannot be reached, for this reason. */
  noteLost(reason: string): void {
    this.#begin(() => {
      this.#lost = reason
    })
  }

  /** The database server can be reached again: the watch ends the outage. */
  noteBack(): void {
    this.#lost = undefined
  }

  #begin(note: () => void): void {
    const wasFull = this.isFull
    note()
    this.#fullSince ??= this.#options.clock.now()
    this.#report()
    this.#changed.ring('full')
    if (!wasFull) this.#options.onChange?.()
  }

  /** Background job. `onRoom` prolongs what could not be prolonged; if it finds the disk full again, the outage goes on. */
  async watch(onRoom: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, log, onChange } = this.#options
    while (!signal.aborted) {
      using subscription = this.#changed.subscribe('full')
      if (!this.isFull) {
        await subscription.wait(limits.idleLookMs, signal)
        continue
      }
      await clock.sleep(limits.roomProbeEveryMs, signal).catch(() => {})
      if (signal.aborted) return
      this.#report()
      if (this.#lost !== undefined) continue
      const folders = await this.#foldersWithRoom()
      if (folders.length < this.#full.size || !(await succeeds(onRoom)) || this.#lost !== undefined) continue
      this.#before = { endedAt: clock.now(), enough: new Map(this.#full) }
      this.#full.clear()
      this.#fullSince = undefined
      const isWritable = folders.some((folder) => this.#reasons.has(folder))
      this.#reasons.clear()
      if (isWritable) log.info(`What ${folders.join(', ')} holds can be written again: work goes on`)
      else if (folders.length > 0)
        log.info(`There is room again on the disk that holds ${folders.join(', ')}: work goes on`)
      else log.info('The database can be reached again: work goes on')
      onChange?.()
    }
  }

  /** A disk that was full again soon had not enough room: then twice as much is wanted. */
  #leastRoom(folder: string): number {
    const { endedAt, enough } = this.#before ?? { endedAt: Number.NEGATIVE_INFINITY, enough: new Map<string, number>() }
    const isSoon = this.#options.clock.now() - endedAt < limits.roomRelapseMs
    return isSoon
      ? Math.min(2 * (enough.get(folder) ?? limits.roomProbeBytes), limits.roomProbeBytesMax)
      : limits.roomProbeBytes
  }

  async #foldersWithRoom(): Promise<string[]> {
    const folders: string[] = []
    for (const [folder, bytes] of this.#full) if (await this.#hasRoom(folder, bytes)) folders.push(folder)
    return folders
  }

  #report(): void {
    const { trouble } = this
    const fields = trouble && this.#throttle.admit(trouble)
    if (fields) this.#options.log.error(`${trouble} Until then nothing can be stored, and runs wait.`, fields)
  }
}

async function succeeds(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch {
    return false
  }
}

/** A quota does not show in the free space of a disk: a file is written as well. */
async function hasRoom(folder: string, bytes: number): Promise<boolean> {
  const path = join(folder, `.room-${randomUUID()}`)
  try {
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < bytes) return false
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(new Uint8Array(Math.min(bytes, limits.roomProbeBytes)))
      await file.datasync()
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    // A fault of another kind does not end by itself: the next write will report it.
    return !isDiskFull(error) && unwritableReason(error) === undefined
  } finally {
    await rm(path, { force: true }).catch(() => {})
  }
}
