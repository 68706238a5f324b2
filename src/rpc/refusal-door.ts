import { STATUS_CODES } from 'node:http'
import { performServerHandshake, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { limits } from '../base/limits.ts'
import type { RefusedPeer } from '../identity/caller.ts'
import { grpcMessage } from './grpc-frames.ts'
import { httpErrorBody, refusalError, type WireError } from './translate-errors.ts'

/**
 * Tells a refused peer why, over either wire, and nothing else: no service stands behind it, and what the peer sends is
 * not kept. The answer ends the connection; the listener bounds how long one may last that asks nothing.
 */
export function tellRefusal(socket: Socket, peer: RefusedPeer, wire: 'grpc' | 'http'): void {
  const error = refusalError(peer)
  if (wire === 'grpc') tellOverGrpc(socket, error)
  else tellOverHttp(socket, error)
}

function tellOverGrpc(socket: Socket, error: WireError): void {
  const session = performServerHandshake(socket, {
    maxSessionMemory: 1,
    maxHeaderListPairs: 128,
    // A window of nothing: a client that respects it sends no message at all. Without it, 64 KiB is all that HTTP/2 lets through.
    settings: { initialWindowSize: 0, maxConcurrentStreams: 8, maxHeaderListSize: limits.headerBytesMax },
  })
  session.on('error', () => {})
  session.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': String(error.grpcCode),
        'grpc-message': grpcMessage(error.grpcSentence),
        'trellis-refusal-reason': error.refusalReason,
      },
      { endStream: true },
    )
    // Ends once the answer is out; Node tells the peer that the rest of its request is not wanted.
    session.close()
  })
}

/**
 * The first bytes are answered whatever they ask. What follows is thrown away unread for a while: a connection that is
 * closed with bytes unread is reset, and the answer is lost with it.
 */
function tellOverHttp(socket: Socket, error: WireError): void {
  const body = httpErrorBody(error)
  let discarded = 0
  socket.once('data', () => {
    socket.end(
      `HTTP/1.1 ${error.httpStatus} ${STATUS_CODES[error.httpStatus]}\r\ncontent-type: application/json\r\n` +
        // A certificate that has expired, or is not valid yet, may be a matter of clocks.
        `date: ${new Date().toUTCString()}\r\ncontent-length: ${Buffer.byteLength(body)}\r\ntrellis-refusal-reason: ${error.refusalReason}\r\n` +
        `connection: close\r\n\r\n${body}`,
    )
  })
  socket.on('data', (chunk: Buffer) => {
    discarded += chunk.length
    if (discarded > limits.refusedBytesMax) socket.pause()
  })
}
