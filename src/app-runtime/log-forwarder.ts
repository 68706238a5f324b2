import { type TaskApi, TaskEndedError } from '../app-api/task-api.ts'
import { systemClock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'

/** How much unsent log is kept while the server is away. */
const pendingBytesMax = 4 * 1024 * 1024
/** Lines that follow each other closely travel together. */
const gatherMs = 50

/** Sends what the app writes to its standard output and error to the SuperLink as the log of the run. */
export class LogForwarder {
  readonly #api: TaskApi
  readonly #restore: (() => void)[] = []
  #pending: string[] = []
  #pendingBytes = 0
  #lost = false
  #sending: Promise<void> | undefined

  constructor(api: TaskApi) {
    this.#api = api
    for (const stream of [process.stdout, process.stderr]) this.#capture(stream)
  }

  /** Sends what is left and leaves the streams alone again. */
  async close(): Promise<void> {
    for (const restore of this.#restore) restore()
    await this.#sending
    await this.#send()
  }

  #capture(stream: NodeJS.WriteStream): void {
    const write = stream.write.bind(stream) as typeof stream.write
    stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
      this.#add(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString())
      return write(chunk, ...rest)
    }) as typeof stream.write
    this.#restore.push(() => {
      stream.write = write
    })
  }

  #add(text: string): void {
    if (this.#pendingBytes > pendingBytesMax) {
      if (!this.#lost) this.#pending.push('[Log lines were lost here: the SuperLink could not be reached]\n')
      this.#lost = true
      return
    }
    this.#pending.push(text)
    this.#pendingBytes += text.length
    this.#sending ??= systemClock
      .sleep(gatherMs)
      .then(() => this.#send())
      .finally(() => {
        this.#sending = undefined
      })
  }

  async #send(): Promise<void> {
    while (this.#pending.length > 0) {
      const logs = this.#pending
      this.#pending = []
      this.#pendingBytes = 0
      this.#lost = false
      try {
        await this.#api.pushLogs(logs)
      } catch (error) {
        // The run was stopped, or this process is, or the server stayed away: the log is not needed any more.
        if (!(error instanceof TaskEndedError) && !this.#api.signal.aborted)
          process.stderr.write(`Log lines were lost: ${errorText(error)}\n`)
        return
      }
    }
  }
}
