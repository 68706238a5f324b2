import { paint, writeLine } from './output.ts'

const redrawMs = 100
const spinner = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏']

/**
 * Lines below the output of a program that are redrawn in place, at most ten times a second, and gone at the end. On
 * anything but a terminal they are not drawn.
 */
export class LiveLines implements Disposable {
  readonly #stream: NodeJS.WriteStream
  readonly #lines: (columns: number) => readonly string[]
  readonly #timer: NodeJS.Timeout | undefined
  #drawn: readonly string[] = []
  #atLineStart = true
  #frame = 0

  /** `lines` is called for what to show, with the width that a line may have. */
  constructor(stream: NodeJS.WriteStream, lines: (columns: number) => readonly string[], terminal = process.env.TERM) {
    this.#stream = stream
    this.#lines = lines
    if (stream.isTTY && terminal !== 'dumb') this.#timer = setInterval(() => this.#draw(), redrawMs)
  }

  get isLive(): boolean {
    return this.#timer !== undefined
  }

  /** Writes output above the lines; they come back with the next drawing. */
  write(output: string): void {
    if (output === '') return
    this.#clear()
    this.#stream.write(output)
    this.#atLineStart = output.endsWith('\n')
  }

  /** Writes a line of ours above them, to standard error: the output may be kept in a file. */
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
    // One column stays free: a full line would wrap, and could not be cleared. So does one row.
    const columns = Math.max(0, (this.#stream.columns || 80) - 1)
    const rows = Math.max(1, (this.#stream.rows || 24) - 1)
    this.#frame = (this.#frame + 1) % spinner.length
    const [first = '', ...others] = this.#lines(Math.max(0, columns - 2)).slice(0, rows)
    const lines = [`${spinner[this.#frame]} ${first}`, ...others.map((line) => `  ${line}`)]
    const fitting = first === '' ? [] : lines.map((line) => [...line].slice(0, columns).join(''))
    if (fitting.join('\n') === this.#drawn.join('\n')) return
    const painted = fitting.map((line) => `${paint('cyan', line, this.#stream)}\x1b[K`)
    this.#stream.write(this.#toStart() + painted.join('\n') + (fitting.length < this.#drawn.length ? '\x1b[J' : ''))
    this.#drawn = fitting
  }

  #clear(): void {
    if (this.#drawn.length === 0) return
    this.#stream.write(`${this.#toStart()}\x1b[J`)
    this.#drawn = []
  }

  /** Returns the cursor to where the first line is drawn. */
  #toStart(): string {
    const up = this.#drawn.length - 1
    return up > 0 ? `\r\x1b[${up}A` : '\r'
  }
}
