/**
 * Splits the output of another program into lines, at line feeds and at carriage returns, which progress bars write. Costs
 * at most one line of memory: the rest of a longer line is skipped, and an ellipsis takes its place. Empty lines are left out.
 */
export class OutputLines {
  readonly #lineBytesMax: number
  readonly #onLine: (line: string) => void
  #parts: Buffer[] = []
  #size = 0

  constructor(lineBytesMax: number, onLine: (line: string) => void) {
    this.#lineBytesMax = lineBytesMax
    this.#onLine = onLine
  }

  take(chunk: Buffer): void {
    let from = 0
    for (let to = lineEnd(chunk, 0); to < chunk.length; to = lineEnd(chunk, from)) {
      this.#add(chunk.subarray(from, to))
      this.end()
      from = to + 1
    }
    this.#add(chunk.subarray(from))
  }

  /** Ends the last line, which may have no line end. */
  end(): void {
    if (this.#size === 0) return
    const text = Buffer.concat(this.#parts).toString()
    const isCut = this.#size > this.#lineBytesMax
    this.#parts = []
    this.#size = 0
    this.#onLine(isCut ? `${text}…` : text)
  }

  #add(part: Buffer): void {
    const room = Math.max(this.#lineBytesMax - this.#size, 0)
    // A copy, so that a few bytes do not keep their whole chunk in memory.
    if (part.length > 0 && room > 0) this.#parts.push(Buffer.from(part.subarray(0, room)))
    this.#size += part.length
  }
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/** Returns the index of the next line end, or the length of the chunk. */
function lineEnd(chunk: Buffer, from: number): number {
  for (let index = from; index < chunk.length; index++) {
    if (chunk[index] === lineFeed || chunk[index] === carriageReturn) return index
  }
  return chunk.length
}
