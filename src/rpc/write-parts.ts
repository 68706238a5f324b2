import type { Writable } from 'node:stream'
import type { Encoded } from './encode-in-turns.ts'

/** What is handed to a connection in one go: TLS encrypts all of it at once. */
const pieceBytesMax = 256 * 1024

/**
 * Writes parts as fast as the peer takes them: a large part goes out in pieces, so that a response of many megabytes is
 * neither encrypted nor buffered as a whole. Ends early, without an error, if the stream closes.
 */
export async function writeParts(stream: Writable, parts: Encoded): Promise<void> {
  for (const piece of piecesOf(parts)) {
    if (stream.writableEnded || stream.destroyed) return
    if (!stream.write(piece)) await drained(stream)
  }
}

/** Does the same, and ends the stream with the last piece. */
export async function endWithParts(stream: Writable, parts: Encoded): Promise<void> {
  const pieces = [...piecesOf(parts)]
  await writeParts(stream, pieces.slice(0, -1))
  if (stream.writableEnded || stream.destroyed) return
  const last = pieces.at(-1)
  if (last) stream.end(last)
  else stream.end()
}

function* piecesOf(parts: Encoded): Generator<Uint8Array> {
  for (const part of parts)
    for (let start = 0; start < part.length; start += pieceBytesMax) yield part.subarray(start, start + pieceBytesMax)
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      stream.off('drain', go).off('close', go)
      resolve()
    }
    stream.once('drain', go).once('close', go)
  })
}
