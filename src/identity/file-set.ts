import { basename, dirname, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { DirectoryWatch } from './directory-watch.ts'
import { directoriesOf, fingerprintOf } from './fingerprint.ts'
import { onOperatorSignal } from './operator-signal.ts'

/**
 * Files that belong together and may be replaced while they are in use: read as a whole, used when all of it is good, else
 * the last good set stays. A change is seen by watching folders, by comparing contents every second, and at SIGHUP. A set
 * that is being written is left alone until it rests.
 */
export interface FileSetOptions<T> {
  /** For the log, e.g. `server certificate`. */
  readonly name: string
  /** Reads and checks everything; throws, or rejects with, a UsageError that names file and fault. */
  readonly read: () => Read<T> | Promise<Read<T>>
  /** Files and folders of which the set consists. */
  readonly paths: (value: T) => readonly string[]
  readonly clock: Clock
  readonly log: Logger
  /** Called for every set that was taken into use or rejected. */
  readonly onReload?: (name: string, result: 'replaced' | 'kept') => void
  /** How long nothing may change before a set is read. */
  readonly restMs?: number
  /** Set for programs at a terminal: SIGHUP is to end them. */
  readonly leavesHangup?: true
}

interface Read<T> {
  readonly value: T
  readonly warnings: readonly string[]
}

/** Why the set in the files is not the one in use. */
export interface FileSetProblem {
  readonly sentence: string
  /** Epoch milliseconds. */
  readonly since: number
}

export class FileSet<T> implements AsyncDisposable {
  readonly #options: FileSetOptions<T>
  readonly #listeners = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #watch = new DirectoryWatch((path) => this.#notice(path))
  readonly #warned: Set<string>
  readonly #hangup: Disposable | undefined
  readonly #done: Promise<void>
  #round = new AbortController()
  #hinted = false
  #value: T
  /** Of the set in use, and of the last one that was looked at. */
  #good: string
  #seen: string
  #problem: FileSetProblem | undefined

  private constructor(options: FileSetOptions<T>, first: Read<T> & { readonly seen: string }) {
    this.#options = options
    this.#value = first.value
    this.#good = first.seen
    this.#seen = first.seen
    this.#warned = new Set(first.warnings)
    this.#hangup = options.leavesHangup ? undefined : onOperatorSignal('SIGHUP', () => this.#wake())
    this.#done = this.#run()
  }

  /** Reads the set for the first time. What is wrong with it then is thrown; its warnings are the caller's. */
  static async open<T>(options: FileSetOptions<T>): Promise<FileSet<T>> {
    const { value, warnings } = await options.read()
    const seen = await fingerprintOf(options.paths(value))
    const again = await options.read()
    return new FileSet(options, { value: again.value, warnings, seen })
  }

  get name(): string {
    return this.#options.name
  }

  current(): T {
    return this.#value
  }

  get problem(): FileSetProblem | undefined {
    return this.#problem
  }

  /** Of the set in use. */
  get warnings(): ReadonlySet<string> {
    return this.#warned
  }

  /** For people that ask for the state. */
  troubles(): string[] {
    const { sentence, since } = this.#problem ?? {}
    if (sentence === undefined || since === undefined) return []
    return [`The ${this.name} in use is not the one in its files, since ${new Date(since).toISOString()}: ${sentence}`]
  }

  /** Calls back after each replacement until disposed. */
  subscribe(onReplaced: () => void): Disposable {
    this.#listeners.add(onReplaced)
    return { [Symbol.dispose]: () => void this.#listeners.delete(onReplaced) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#round.abort()
    this.#hangup?.[Symbol.dispose]()
    this.#watch[Symbol.dispose]()
    await this.#done
  }

  async #run(): Promise<void> {
    const { clock, log, name, restMs = restMsDefault } = this.#options
    while (!this.#stop.signal.aborted) {
      this.#watch.arm(directoriesOf(this.#paths()))
      if (!this.#hinted) await clock.sleep(compareMs, this.#round.signal).catch(() => {})
      await clock.sleep(restMs, this.#stop.signal).catch(() => {})
      if (this.#stop.signal.aborted) return
      this.#round = new AbortController()
      this.#hinted = false
      try {
        await this.look()
      } catch (error) {
        log.error(`The files of the ${name} could not be looked at`, { error: errorText(error) })
      }
    }
  }

  #paths(): readonly string[] {
    return this.#options.paths(this.#value)
  }

  /** Other files may live in the same folder and change all the time, such as a database. */
  #notice(path: string): void {
    const paths = this.#paths().map((one) => resolve(one))
    const hinted = resolve(path)
    // Kubernetes swaps a link whose name begins with two points.
    const isLink = basename(hinted).startsWith('..')
    const isOurs = paths.some((one) => one === hinted || one === dirname(hinted) || dirname(one) === hinted)
    if (isLink || isOurs) this.#wake()
  }

  #wake(): void {
    this.#hinted = true
    this.#round.abort()
  }

  /** Looks at the files now. A set that was not good is read again: the clock alone may have made it good. */
  async look(): Promise<void> {
    const now = await fingerprintOf(this.#paths())
    if (now === this.#seen && !this.#problem) return
    const seen = now === this.#seen ? now : await this.#rested(now)
    if (this.#stop.signal.aborted) return
    this.#seen = seen
    if (seen === this.#good) return this.#goodAgain()
    await this.#read(seen)
  }

  /** The fingerprint once it has stayed the same for a moment, or has not for long. */
  async #rested(first: string): Promise<string> {
    const { clock, restMs = restMsDefault } = this.#options
    let before = first
    for (let looks = 0; looks < looksMax; looks++) {
      await clock.sleep(restMs, this.#stop.signal).catch(() => {})
      const now = await fingerprintOf(this.#paths())
      if (now === before || this.#stop.signal.aborted) return now
      before = now
    }
    return before
  }

  async #read(seen: string): Promise<void> {
    let read: Read<T> | undefined
    let fault: unknown
    try {
      read = await this.#options.read()
    } catch (error) {
      fault = error
    }
    if (this.#stop.signal.aborted) return
    // Files that changed meanwhile were read half before, half after: they are looked at again.
    if ((await fingerprintOf(this.#paths())) !== seen) {
      this.#seen = ''
      return this.#wake()
    }
    if (read) this.#replace(read, seen)
    else this.#keep(fault)
  }

  #replace({ value, warnings }: Read<T>, seen: string): void {
    const { log, name, onReload } = this.#options
    this.#value = value
    this.#good = seen
    this.#problem = undefined
    log.info(`Replaced the ${name}: its files have changed`)
    for (const warning of warnings) {
      if (!this.#warned.has(warning)) log.warn(warning)
    }
    this.#warned.clear()
    for (const warning of warnings) this.#warned.add(warning)
    onReload?.(name, 'replaced')
    for (const listener of this.#listeners) listener()
  }

  #keep(fault: unknown): void {
    const { clock, log, name, onReload } = this.#options
    const sentence = errorText(fault)
    if (this.#problem?.sentence === sentence) return
    this.#problem = { sentence, since: this.#problem?.since ?? clock.now() }
    if (fault instanceof UsageError)
      log.warn(`Kept the ${name} that is in use, for its files are not good: ${sentence}`)
    else log.error(`Kept the ${name} that is in use, for its files could not be read`, { error: sentence })
    onReload?.(name, 'kept')
  }

  #goodAgain(): void {
    if (!this.#problem) return
    this.#problem = undefined
    this.#options.log.info(`The files of the ${this.name} are good again, as they were`)
  }
}

const compareMs = 1000
const restMsDefault = 100
const looksMax = 20
