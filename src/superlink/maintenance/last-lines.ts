import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** So much of the end of a file is read; a line that begins before it is left out. */
const bytesMax = 256 * 1024

/** Returns the last lines of a text file, at most `count`, without reading the rest of it. Throws if it cannot be read. */
export function lastLines(path: string, count: number): string[] {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const start = Math.max(0, size - bytesMax)
    const bytes = Buffer.alloc(size - start)
    const length = readSync(file, bytes, 0, bytes.length, start)
    const lines = bytes.toString('utf8', 0, length).split('\n')
    if (start > 0) lines.shift()
    if (lines.at(-1) === '') lines.pop()
    return lines.slice(-count)
  } finally {
    closeSync(file)
  }
}
