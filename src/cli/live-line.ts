import { paint, writeLine } from './output.ts'

const redrawMs = 100
const spinner = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏']

/**
 * One line below the output of a program that is redrawn in place, at most ten times a second, and gone at the end. On
 * anything but a terminal it draws nothing.
 */
export class LiveLine implements Disposable {
  readonly #stream: NodeJS.WriteStream
  readonly #text: () => string
  readonly #timer: NodeJS.Timeout | undefined
  #drawn = ''
  #atLineStart = true
  #frame = 0

  /** `text` is asked for what to show; nothing is shown while it is empty. */
  constructor(stream: NodeJS.WriteStream, text: () => string, terminal = process.env.TERM) {
    this.#stream = stream
    this.#text = text
    if (stream.isTTY && terminal !== 'dumb') this.#timer = setInterval(() => this.#draw(), redrawMs)
  }

  get isLive(): boolean {
    return this.#timer !== undefined
  }

  /** Writes output above the line; the line comes back with the next drawing. */
  write(output: string): void {
    if (output === '') return
    this.#clear()
    this.#stream.write(output)
    this.#atLineStart = output.endsWith('\n')
  }

  /** Writes a line of ours above the line, to standard error: the output may be kept in a file. */
  note(text: string): void {
    this.#clear()
    if (!this.#atLineStart) this.#stream.write('\n')
    this.#atLineStart = true
    writeLine(process.stderr, text)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#clear()
    if (!this.#atLineStart) this.#stream.write('\n')
  }

  #draw(): void {
    // Half a line of output must not be broken by ours.
    if (!this.#atLineStart) return
    const text = this.#text()
    if (text === '') {
      this.#clear()
      return
    }
    this.#frame = (this.#frame + 1) % spinner.length
    // One column stays free: a full line would wrap, and could not be cleared.
    const line = [...`${spinner[this.#frame]} ${text}`].slice(0, Math.max(0, (this.#stream.columns || 80) - 1)).join('')
    if (line === this.#drawn) return
    this.#stream.write(`\r${paint('cyan', line, this.#stream)}\x1b[K`)
    this.#drawn = line
  }

  #clear(): void {
    if (this.#drawn === '') return
    this.#stream.write('\r\x1b[2K')
    this.#drawn = ''
  }
}
