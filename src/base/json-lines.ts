import type { Readable } from 'node:stream'

export interface JsonLinesOptions {
  /** A longer line is skipped. */
  readonly lineBytesMax: () => number
  readonly onValue: (value: unknown) => void
  /** A line was skipped because it is too long or is not JSON. */
  readonly onNonsense: () => void
}

/** Reads lines of JSON from a program that is not trusted: it costs at most one line of memory, and never an exception. */
export function readJsonLines(stream: Readable, options: JsonLinesOptions): void {
  let parts: Buffer[] = []
  let size = 0
  let skips = false
  const take = (part: Buffer): void => {
    size += part.length
    if (skips || part.length === 0) return
    if (size <= options.lineBytesMax()) parts.push(part)
    else {
      skips = true
      parts = []
    }
  }
  const end = (): void => {
    const text = skips ? undefined : Buffer.concat(parts).toString()
    parts = []
    size = 0
    skips = false
    let value: unknown
    try {
      value = JSON.parse(text as string)
    } catch {
      options.onNonsense()
      return
    }
    options.onValue(value)
  }
  stream.on('data', (chunk: Buffer) => {
    let from = 0
    for (let to = chunk.indexOf(newline); to >= 0; to = chunk.indexOf(newline, from)) {
      take(chunk.subarray(from, to))
      end()
      from = to + 1
    }
    take(chunk.subarray(from))
  })
  // The other end is gone: how its process ended tells more.
  stream.on('error', () => {})
}

const newline = 0x0a
