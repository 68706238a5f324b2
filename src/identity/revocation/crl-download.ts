import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchBounded } from '../../base/bounded-fetch.ts'
import type { Clock } from '../../base/clock.ts'
import { errorText, UsageError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { pauseAfter } from '../../base/retry.ts'
import type { Certificate } from '../certificate.ts'
import { onOperatorSignal } from '../operator-signal.ts'
import type { FileFlag } from '../tls-files.ts'
import type { Crl } from './crl.ts'
import { readCrls } from './crls.ts'

export interface CrlDownloadOptions {
  readonly flag: string
  readonly urls: readonly string[]
  /** Where the last good lists are kept. Other processes may keep theirs there too. */
  readonly directory: string
  /** The CAs that lists are checked against, and PEM of the CAs that servers are trusted by beside the public ones. */
  readonly cas: () => readonly Certificate[]
  readonly rootsPem: () => string
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Fetches revocation lists into files, which then are watched as those of an operator are. A list is fetched again every
 * few minutes, sooner where the next one is due, and at SIGHUP; one that is not good does not take the place of the last.
 */
export class CrlDownload implements AsyncDisposable {
  readonly #options: CrlDownloadOptions
  readonly #lists: readonly DownloadedList[]
  readonly #stop = new AbortController()
  readonly #hangup: Disposable
  readonly #done: Promise<unknown>
  #pause = new AbortController()

  private constructor(options: CrlDownloadOptions, lists: readonly DownloadedList[]) {
    this.#options = options
    this.#lists = lists
    this.#hangup = onOperatorSignal('SIGHUP', () => this.#pause.abort())
    this.#done = this.#run()
  }

  /** Throws a UsageError for an address that has no list, unless one of an earlier time is kept. */
  static async open(options: CrlDownloadOptions): Promise<CrlDownload> {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 })
    const lists = options.urls.map((url) => new DownloadedList(url, options))
    await Promise.all(lists.map((list) => list.begin()))
    return new CrlDownload(options, lists)
  }

  /** The lists of its addresses, in the folder. */
  get file(): FileFlag {
    const { flag, directory } = this.#options
    return { flag, path: directory, names: this.#lists.map(({ name }) => name) }
  }

  /** Removes lists of other addresses, and what killed processes have left. Other processes may fetch lists meanwhile. */
  removeOthers(): void {
    const { directory } = this.#options
    const kept = new Set(this.#lists.map(({ name }) => name))
    for (const name of readdirSync(directory)) {
      const path = join(directory, name)
      if (isTemporary(name) ? isAbandoned(path) : !kept.has(name)) rmSync(path, { force: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#pause.abort()
    this.#hangup[Symbol.dispose]()
    await this.#done
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    while (!this.#stop.signal.aborted) {
      const next = Math.min(...this.#lists.map(({ fetchAt }) => fetchAt))
      const isWoken = await clock.sleep(Math.max(0, next - clock.now()), this.#pause.signal).then(
        () => false,
        () => true,
      )
      if (this.#stop.signal.aborted) return
      if (isWoken) this.#pause = new AbortController()
      const due = this.#lists.filter(({ fetchAt }) => isWoken || fetchAt <= clock.now())
      await Promise.all(due.map((list) => list.renew()))
    }
  }
}

class DownloadedList {
  readonly #options: CrlDownloadOptions
  readonly #throttle: LogThrottle
  readonly url: string
  readonly name: string
  #crls: readonly Crl[] = []
  #unchanged: Readonly<Record<string, string>> = {}
  #failures = 0
  /** Epoch milliseconds. */
  fetchAt = 0

  constructor(url: string, options: CrlDownloadOptions) {
    this.#options = options
    this.#throttle = new LogThrottle(options.clock)
    this.url = url
    this.name = `${createHash('sha256').update(url).digest('hex').slice(0, 16)}.crl`
  }

  async begin(): Promise<void> {
    const { flag, log } = this.#options
    try {
      this.#crls = await this.#read(this.#path)
    } catch {
      // None was ever fetched, or it is of another CA.
      rmSync(this.#path, { force: true })
    }
    try {
      await this.#fetch()
    } catch (cause) {
      const what = `${flag}: the revocation list of ${this.url}: ${errorText(cause)}`
      if (this.#crls.length === 0) throw new UsageError(`${what}, and none of an earlier time is kept.`, { cause })
      log.warn(`${what}. The one that was fetched last is used.`)
      this.#failures = 1
    }
    this.#plan()
  }

  /** Never rejects. */
  async renew(): Promise<void> {
    const { log } = this.#options
    try {
      await this.#fetch()
      if (this.#failures > 0) log.info(`${this.url} has a good revocation list again`)
      this.#failures = 0
    } catch (error) {
      this.#failures += 1
      const fields = this.#throttle.admit(errorText(error))
      if (fields) log.warn(`Kept the revocation list of ${this.url}: ${errorText(error)}`, fields)
    }
    this.#plan()
  }

  get #path(): string {
    return join(this.#options.directory, this.name)
  }

  async #fetch(): Promise<void> {
    const { rootsPem } = this.#options
    const { status, headers, bytes } = await fetchBounded({
      ...{ url: this.url, headers: this.#unchanged, deadlineMs: fetchMs, ca: [rootsPem()] },
      bytesMax: limits.revocationListBytesMax,
    })
    if (status === 304) return
    if (status !== 200) throw new Error(`it answers with status ${status}`)
    const next = join(this.#options.directory, `.${this.name}.${randomUUID()}`)
    try {
      await writeFile(next, bytes)
      this.#crls = await this.#read(next)
    } catch (error) {
      rmSync(next, { force: true })
      throw error
    }
    renameSync(next, this.#path)
    const { etag, 'last-modified': modified } = headers
    this.#unchanged = {
      ...(typeof etag === 'string' ? { 'if-none-match': etag } : {}),
      ...(typeof modified === 'string' ? { 'if-modified-since': modified } : {}),
    }
  }

  async #read(path: string): Promise<readonly Crl[]> {
    const { flag, cas, clock } = this.#options
    const file: FileFlag = { flag, path }
    return (await readCrls(file, cas(), { now: clock.now(), previous: this.#crls, checks: false })).crls
  }

  #plan(): void {
    const now = this.#options.clock.now()
    const dueAt = Math.min(...this.#crls.map(({ nextUpdate }) => nextUpdate))
    // A failure is tried again sooner, and so is a list that is almost due.
    const capMs = refreshMsMax
    const longestMs = this.#failures > 0 ? pauseAfter(this.#failures, { baseMs: 5000, capMs }) : capMs
    this.fetchAt = now + Math.max(refreshMsMin, Math.min(longestMs, (dueAt - now) / 2))
  }
}

/** Names that begin with a point are no lists: half a file is never taken for one. */
function isTemporary(name: string): boolean {
  return name.startsWith('.')
}

/** Whether no process writes this file any more. */
function isAbandoned(path: string): boolean {
  const writtenAt = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return Date.now() - writtenAt > abandonedMs
}

const abandonedMs = 10 * 60_000
const fetchMs = 30_000
const refreshMsMin = 5000
const refreshMsMax = 5 * 60_000
