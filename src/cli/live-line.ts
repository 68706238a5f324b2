import { paint } from './output.ts'

const redrawMs = 100

/** One line below the output of a program that is redrawn in place. On anything but a terminal it draws nothing. */
export class LiveLine implements Disposable {
  readonly #stream: NodeJS.WriteStream
  readonly #text: () => string
  readonly #timer: NodeJS.Timeout | undefined
  #drawn = ''
  #atLineStart = true

  /** `text` is asked for what to show, at most ten times a second. */
  constructor(stream: NodeJS.WriteStream, text: () => string) {
    this.#stream = stream
    this.#text = text
    if (stream.isTTY) this.#timer = setInterval(() => this.#redraw(), redrawMs)
  }

  get isLive(): boolean {
    return this.#timer !== undefined
  }

  /** Writes output above the line. */
  write(output: string): void {
    if (output === '') return
    this.#clear()
    this.#stream.write(output)
    this.#atLineStart = output.endsWith('\n')
    this.#redraw()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#clear()
  }

  #redraw(): void {
    // Half a line of output must not be broken by ours.
    if (!this.isLive || !this.#atLineStart) return
    const text = this.#text().slice(0, Math.max(0, (this.#stream.columns ?? 80) - 1))
    if (text === this.#drawn) return
    this.#clear()
    this.#stream.write(paint('cyan', text, this.#stream))
    this.#drawn = text
  }

  #clear(): void {
    if (this.#drawn === '') return
    this.#stream.write('\r\x1b[2K')
    this.#drawn = ''
  }
}
