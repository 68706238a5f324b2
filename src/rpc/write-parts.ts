import type { Writable } from 'node:stream'
import { limits } from '../base/limits.ts'
import type { Connection } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import { type Outgoing, pieceBytesMax, writePieces } from './outgoing.ts'

export type ReadPace = Pick<ConnectionBounds, 'responseWindowMs' | 'responseMsMax'>

/** The peer of a response. Its connection is closed if it reads too slowly: the response holds memory until it is read. */
export interface Reader {
  readonly connection: Connection
  readonly pace: ReadPace
  /** Called before the connection is closed. */
  onTooSlow(sentence: string): void
}

/**
 * Writes parts as fast as the peer takes them: a large part goes out in pieces, so that a response of many megabytes is
 * neither encrypted nor buffered as a whole. Ends early, without an error, if the stream closes.
 */
export function writeParts(stream: Writable, parts: Outgoing, reader: Reader): Promise<void> {
  return writePieces(stream, parts, () => once(stream, 'drain', reader))
}

/** Does the same, and ends the stream with the last piece. `written` resolves when all of it has been sent. */
export async function endWithParts(
  stream: Writable,
  parts: Outgoing,
  reader: Reader,
): Promise<{ readonly written: Promise<void> }> {
  const last = parts.at(-1)
  const isWhole = last instanceof Uint8Array && last.length <= pieceBytesMax
  await writeParts(stream, isWhole ? parts.slice(0, -1) : parts, reader)
  if (stream.writableEnded || stream.destroyed) return { written: Promise.resolve() }
  const written = once(stream, 'finish', reader)
  if (isWhole) stream.end(last)
  else stream.end()
  return { written }
}

/**
 * Waits for the event, or the end of the stream. A connection over which too little goes out meanwhile is closed, for all
 * its responses wait for its peer; so is one that takes too long for a single piece.
 */
function once(stream: Writable, event: 'drain' | 'finish', { connection, pace, onTooSlow }: Reader): Promise<void> {
  return new Promise((resolve) => {
    let sent = connection.bytesSent
    let waitedMs = 0
    const timer = setInterval(() => {
      waitedMs += pace.responseWindowMs
      const isSlow = connection.bytesSent - sent < limits.responseBytesPerWindowMin
      sent = connection.bytesSent
      if (!isSlow && waitedMs < pace.responseMsMax) return
      clearInterval(timer)
      const within = `${(isSlow ? pace.responseWindowMs : pace.responseMsMax) / 1000} s`
      onTooSlow(isSlow ? `less than ${limits.responseBytesPerWindowMin} bytes in ${within}` : `not within ${within}`)
      connection.close()
    }, pace.responseWindowMs)
    const go = (): void => {
      clearInterval(timer)
      stream.off(event, go).off('close', go)
      resolve()
    }
    stream.once(event, go).once('close', go)
  })
}
