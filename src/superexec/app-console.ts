import type { Readable } from 'node:stream'
import { type Clock, systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { OutputLines } from '../base/output-lines.ts'
import { printableLines } from '../base/printable.ts'

/** Which output it is. The run is absent for a process that works for several runs. */
export interface ConsoleOwner {
  readonly app: 'ClientApp' | 'ServerApp' | 'Python'
  readonly runId: bigint | undefined
}

/** Where the log goes: its writer tells whether it can take more. */
export interface ConsoleSink {
  readonly writableNeedDrain?: boolean
  readonly destroyed?: boolean
  once(event: 'drain' | 'close' | 'error', listener: () => void): unknown
  off(event: 'drain' | 'close' | 'error', listener: () => void): unknown
}

/**
 * Shows the output of apps in the log of this program, each line as a record of its own that names the app. An app can
 * therefore neither forge a line of the log nor steer the terminal of an operator, and it cannot flood the log: further
 * lines are counted, and the count is logged. While the log cannot take more, nothing is read from the app.
 */
export class AppConsole {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #sink: ConsoleSink
  readonly #streams = new Map<Readable, Promise<void>>()
  readonly #stop = new AbortController()

  constructor(log: Logger, { clock = systemClock, sink = process.stderr as ConsoleSink } = {}) {
    this.#log = log
    this.#clock = clock
    this.#sink = sink
  }

  /** Shows the streams of one process until they end. Absent streams are those of a process that could not be started. */
  show(streams: readonly (Readable | null | undefined)[], owner: ConsoleOwner): void {
    const showOne = this.open(owner)
    for (const stream of streams) if (stream) showOne(stream)
  }

  /** Returns a function that shows a stream of the process; its streams share one limit. */
  open(owner: ConsoleOwner): (stream: Readable) => void {
    const shown = new ProcessLines(owner, this.#log, this.#clock, this.#stop.signal)
    return (stream) => {
      const reading = this.#read(stream, shown).finally(() => this.#streams.delete(stream))
      this.#streams.set(stream, reading)
    }
  }

  /** Shows what ended apps have left in their pipes. A process that such an app has started may keep a pipe open. */
  async close(): Promise<void> {
    const rest = Promise.all(this.#streams.values())
    await Promise.race([rest, this.#clock.sleep(restMs, this.#stop.signal).catch(() => {})])
    this.#stop.abort()
    for (const stream of this.#streams.keys()) stream.destroy()
    await rest
  }

  async #read(stream: Readable, shown: ProcessLines): Promise<void> {
    const lines = new OutputLines(limits.appLineBytesMax, (line) => {
      const text = printableLines(line, { colors: false }).trimEnd()
      if (text !== '') shown.add(text)
    })
    try {
      for await (const chunk of stream) {
        lines.take(chunk as Buffer)
        await this.#drained()
      }
    } catch {
      // The stream was destroyed, or its process is gone: how that ended is reported elsewhere.
    }
    lines.end()
    shown.end()
  }

  #drained(): Promise<void> | undefined {
    const sink = this.#sink
    const { signal } = this.#stop
    if (!sink.writableNeedDrain || sink.destroyed || signal.aborted) return undefined
    return new Promise((resolve) => {
      const done = (): void => {
        for (const event of events) sink.off(event, done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      for (const event of events) sink.once(event, done)
      signal.addEventListener('abort', done)
    })
  }
}

const events = ['drain', 'close', 'error'] as const
/** How long the output of ended apps is waited for. */
const restMs = 1000

/** Logs the lines of one process, at most a certain number at a time. */
class ProcessLines {
  readonly #owner: { readonly app: string; readonly run?: bigint }
  readonly #log: Logger
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #count = 0
  #endsAt = Number.NEGATIVE_INFINITY
  /** Lines that are not shown, and the last of them. */
  #dropped = 0
  #last: string[] = []

  constructor({ app, runId }: ConsoleOwner, log: Logger, clock: Clock, signal: AbortSignal) {
    this.#owner = { app, ...(runId === undefined ? {} : { run: runId }) }
    this.#log = log
    this.#clock = clock
    this.#signal = signal
  }

  add(line: string): void {
    if (this.#clock.now() >= this.#endsAt) {
      this.#reportDropped()
      this.#count = 0
      this.#endsAt = this.#clock.now() + limits.appLinesWindowMs
    }
    this.#count += 1
    if (this.#count <= limits.appLinesMax) this.#show(line)
    else this.#drop(line)
  }

  /** The end of a stream: the last lines of a process tell why it ended. */
  end(): void {
    const last = this.#last
    this.#dropped -= last.length
    this.#reportDropped()
    for (const line of last) this.#show(line)
  }

  #show(line: string): void {
    const { app, ...about } = this.#owner
    this.#log.info(line, { printedBy: app, ...about })
  }

  #drop(line: string): void {
    this.#dropped += 1
    this.#last.push(line)
    if (this.#last.length > limits.appLastLinesMax) this.#last.shift()
    if (this.#dropped > 1) return
    const report = (): void => this.#reportDropped()
    this.#clock.sleep(this.#endsAt - this.#clock.now(), this.#signal).then(report, () => {})
  }

  #reportDropped(): void {
    if (this.#dropped > 0) {
      const { app: type, ...about } = this.#owner
      const most = `${limits.appLinesMax} in ${limits.appLinesWindowMs / 1000} s`
      this.#log.warn(`${this.#dropped} lines of an app are not shown: it writes more than ${most}`, { type, ...about })
    }
    this.#dropped = 0
    this.#last = []
  }
}
