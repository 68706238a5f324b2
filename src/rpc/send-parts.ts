import type { Writable } from 'node:stream'
import { errorText } from '../base/errors.ts'
import { type Outgoing, writePieces } from './outgoing.ts'
import { RpcError } from './rpc-error.ts'

/** Sends a request as fast as the server takes it, and ends the stream. Ends early, without an error, if the stream closes. */
export async function sendParts(stream: Writable, parts: Outgoing): Promise<void> {
  const [only] = parts
  if (parts.length === 1 && only instanceof Uint8Array) return void stream.end(only)
  await writePieces(stream, parts, () => drained(stream))
  if (!stream.writableEnded && !stream.destroyed) stream.end()
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

/** The content of a request could not be read from its file. */
export function unreadable(cause: unknown): RpcError {
  return new RpcError('internal', `The request could not be read: ${errorText(cause)}`, { kind: 'protocol', cause })
}
