import { closeSync, existsSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { type Clock, systemClock } from './clock.ts'
import { errorText, UsageError } from './errors.ts'
import type { LineSink } from './log.ts'
import { LogThrottle } from './log-throttle.ts'

export interface LogFileOptions {
  readonly path: string
  /** Size in bytes at which a new file is started. */
  readonly bytesMax: number
  /** Age at which a new file is started. */
  readonly ageMsMax: number
  /** Number of old files: `FILE.1` is the newest of them. */
  readonly keep: number
}

/** After a rotation that failed. */
const rotationRetryMs = 60_000

/**
 * A log file that is rotated by size and age. Lines are written at once, so that the last line before a crash is in the file. A
 * line that cannot be written, for example because the disk is full, never ends the program: `report` is called with the reason
 * once a minute, and the next line is tried again. If the file cannot be rotated, lines go on into the old one, no old file is
 * lost, and the next attempt follows after a minute. The constructor throws a UsageError if the file cannot be opened.
 */
export class LogFile implements LineSink, Disposable {
  readonly withTime = true
  readonly #options: LogFileOptions
  readonly #clock: Pick<Clock, 'now'>
  readonly #report: (sentence: string) => void
  readonly #throttle: LogThrottle
  #descriptor: number
  #size: number
  #startedAt: number
  #rotatesFrom = 0

  constructor(
    options: LogFileOptions,
    { clock = systemClock, report }: { clock?: Pick<Clock, 'now'>; report: (sentence: string) => void },
  ) {
    this.#options = options
    this.#clock = clock
    this.#report = report
    this.#throttle = new LogThrottle(clock)
    try {
      this.#descriptor = openSync(options.path, 'a', fileMode)
      const { size, birthtimeMs } = fstatSync(this.#descriptor)
      this.#size = size
      this.#startedAt = size === 0 ? clock.now() : birthtimeMs || clock.now()
    } catch (cause) {
      throw new UsageError(
        `--log-file: ${options.path} cannot be written (${(cause as NodeJS.ErrnoException).code}): give a file in an existing folder that this program may write to.`,
        { cause },
      )
    }
  }

  write(line: string): void {
    const bytes = Buffer.from(line)
    try {
      if (this.#isDue(bytes.length)) this.#tryToRotate()
      for (let written = 0; written < bytes.length; ) {
        const count = writeSync(this.#descriptor, bytes, written)
        written += count
        this.#size += count
      }
    } catch (error) {
      this.#reportFailure('written', error)
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }

  #reportFailure(what: 'written' | 'rotated', error: unknown): void {
    const fields = this.#throttle.admit(what)
    if (fields) this.#report(`The log file ${this.#options.path} cannot be ${what}: ${errorText(error)}`)
  }

  /** A file holds at least one line. */
  #isDue(bytes: number): boolean {
    const now = this.#clock.now()
    if (this.#size === 0 || now < this.#rotatesFrom) return false
    const { bytesMax, ageMsMax } = this.#options
    return this.#size + bytes > bytesMax || now - this.#startedAt >= ageMsMax
  }

  #tryToRotate(): void {
    try {
      this.#rotate()
    } catch (error) {
      this.#rotatesFrom = this.#clock.now() + rotationRetryMs
      this.#reportFailure('rotated', error)
    }
  }

  /** Gives up the old file when the new one has its name. */
  #rotate(): void {
    const { path, keep } = this.#options
    const next = openSync(`${path}.new`, 'w', fileMode)
    try {
      makeRoomForOldFile(path, keep)
      renameIfThere(path, `${path}.1`)
      renameSync(`${path}.new`, path)
    } catch (error) {
      closeSync(next)
      rmSync(`${path}.new`, { force: true })
      throw error
    }
    closeSync(this.#descriptor)
    this.#descriptor = next
    this.#size = 0
    this.#startedAt = this.#clock.now()
  }
}

/** Only the oldest of `keep` files is replaced, and none if a number is free, as it is after a rotation that failed midway. */
function makeRoomForOldFile(path: string, keep: number): void {
  let free = 1
  while (free < keep && existsSync(`${path}.${free}`)) free++
  for (let number = free - 1; number >= 1; number--) renameIfThere(`${path}.${number}`, `${path}.${number + 1}`)
}

/** Logs name identities and apps: they are for the operator. */
const fileMode = 0o640

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
