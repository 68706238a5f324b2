import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { DomainError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { BodyBudget } from './body-budget.ts'
import { type CallHead, type Connection, type IncomingCall, waitMsOf } from './call.ts'
import { unlessRefused } from './cut-off.ts'
import type { Method } from './dispatch.ts'
import {
  acceptedEncodings,
  framed,
  grpcMessage,
  isKnownEncoding,
  MessageReader,
  Metadata,
  timeoutMsOf,
} from './grpc-frames.ts'
import { closeContents, heldBytesOf, type Outgoing, openContents } from './outgoing.ts'
import { type BodyPace, receiveChunks } from './receive-body.ts'
import { ResponseRoom } from './response-room.ts'
import { toWireError, type WireError } from './translate-errors.ts'
import { endWithParts, type Reader, type ReadPace, writeParts } from './write-parts.ts'

export interface GrpcCallOptions {
  readonly methods: ReadonlyMap<string, Method>
  readonly budget: BodyBudget
  readonly pace: BodyPace & ReadPace
  readonly log: Logger
}

/** Serves one call, which is one stream of HTTP/2. Never throws: a stream that was reset serves no purpose any more. */
export async function serveGrpcCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  connection: Connection,
  { methods, budget, pace, log }: GrpcCallOptions,
): Promise<void> {
  stream.on('error', () => {})
  if (stream.destroyed || stream.closed) return
  if (headers[':method'] !== 'POST' || !/^application\/grpc([+;]|$)/.test(headers['content-type'] ?? '')) {
    stream.respond({ ':status': headers[':method'] === 'POST' ? 415 : 405 }, { endStream: true })
    discardRest(stream)
    return
  }
  const response = new GrpcResponse(stream, {
    ...{ connection, pace },
    onTooSlow: (pace) =>
      log.info('Closed a connection whose peer does not read', { peer: connection.remoteAddress, pace }),
  })
  const path = headers[':path'] ?? ''
  const fail = (error: unknown): void => response.fail(toWireError(error, path, log))
  const method = methods.get(path)
  if (!method) return fail(new DomainError('unknown-method', `The server does not implement the method ${path}`))
  const metadata = new Metadata(rawHeaders)
  const [encoding] = metadata.texts('grpc-encoding')
  if (!isKnownEncoding(encoding)) return fail(new DomainError('unsupported', `Unknown grpc-encoding '${encoding}'.`))
  const timeoutMs = timeoutMsOf(metadata.texts('grpc-timeout')[0])
  if (Number.isNaN(timeoutMs)) return fail(new DomainError('invalid-request', 'Invalid grpc-timeout.'))

  const cancel = new Cancellation(stream, response)
  const deadline =
    timeoutMs === undefined
      ? undefined
      : setTimeout(
          () => {
            fail(new DomainError('deadline-exceeded'))
            cancel.abort()
          },
          Math.min(timeoutMs, timeoutMsMax),
        )
  const room = budget.open(connection)
  const responses = new ResponseRoom(room.response)
  const head: CallHead = {
    method: path,
    connection,
    get signal() {
      return cancel.signal
    },
    waitMs: waitMsOf(metadata.texts('trellis-wait-ms')[0]),
    header: (name) => metadata.texts(name),
    binaryHeader: (name) => metadata.binaries(name),
    makeRoom: (bytes) => responses.reserve(bytes, cancel),
  }
  const incoming: IncomingCall = {
    head,
    async receive(bytesMax, options) {
      const reader = new MessageReader(bytesMax, options)
      await receiveChunks(stream, room.request, pace, (chunk) => reader.take(chunk))
      return reader.message(encoding)
    },
  }
  try {
    if (method.streams) await sendAll(method, incoming, response, responses)
    else {
      const message = await unlessRefused(connection, () => method.unary(incoming))
      room.request.release()
      await responses.hold(heldBytesOf(message), cancel)
      try {
        await openContents(message)
        response.begin(head.waitMs === undefined ? {} : { 'trellis-waited': '1' })
        await response.end(message)
      } finally {
        await closeContents(message)
      }
    }
  } catch (error) {
    fail(error)
    // After a cut-off the handler is still waiting: it must not take anything that its caller never receives.
    cancel.abort()
  } finally {
    clearTimeout(deadline)
    room.request.release()
    room.response.release()
  }
}

/** Node's timers take no more. */
const timeoutMsMax = 2 ** 31 - 1

/** A stream that is cut off ends with the reason, as a call does. */
async function sendAll(
  method: Method,
  incoming: IncomingCall,
  response: GrpcResponse,
  responses: ResponseRoom,
): Promise<void> {
  const { connection, signal } = incoming.head
  const send = async (): Promise<void> => {
    for await (const message of method.stream(incoming)) {
      if (signal.aborted || connection.cutOff.aborted) return
      await responses.hold(heldBytesOf(message), incoming.head)
      response.begin()
      await response.write(message)
      responses.written()
    }
    response.begin()
    await response.end()
  }
  await unlessRefused(connection, send)
}

/** Aborts when the stream closes before its response is complete. The signal is made when it is asked for. */
class Cancellation {
  readonly #stream: ServerHttp2Stream
  readonly #response: GrpcResponse
  #controller: AbortController | undefined
  #aborted = false

  constructor(stream: ServerHttp2Stream, response: GrpcResponse) {
    this.#stream = stream
    this.#response = response
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#aborted || (this.#stream.closed && !this.#response.complete)) this.#controller.abort()
      this.#stream.once('close', () => {
        if (!this.#response.complete) this.abort()
      })
    }
    return this.#controller.signal
  }

  abort(): void {
    this.#aborted = true
    this.#controller?.abort()
  }
}

/** The response half of a stream: headers, messages, and a status in the trailers, each at most once. */
class GrpcResponse {
  readonly #stream: ServerHttp2Stream
  readonly #reader: Reader
  #trailers: OutgoingHttpHeaders = { 'grpc-status': '0' }
  #begun = false
  #ended = false

  constructor(stream: ServerHttp2Stream, reader: Reader) {
    this.#stream = stream
    this.#reader = reader
  }

  /** Whether everything has been sent. */
  get complete(): boolean {
    return this.#ended && this.#stream.writableFinished
  }

  begin(headers: OutgoingHttpHeaders = {}): void {
    const stream = this.#stream
    if (this.#begun || this.#ended || stream.destroyed || stream.closed) return
    this.#begun = true
    stream.once('wantTrailers', () => {
      stream.sendTrailers(this.#trailers)
      discardRest(stream)
    })
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', ...headers },
      { ...withoutDate, waitForTrailers: true },
    )
  }

  /** Resolves when more can be written. */
  async write(message: Outgoing): Promise<void> {
    if (this.#ended || this.#stream.destroyed) return
    await writeParts(this.#stream, framed(message), this.#reader)
  }

  /** Resolves when everything has been sent, or the stream is closed. */
  async end(message: Outgoing = []): Promise<void> {
    if (this.#ended) return
    const { written } = await endWithParts(this.#stream, message.length === 0 ? [] : framed(message), this.#reader)
    this.#ended = true
    await written
  }

  fail({ grpcCode, grpcSentence, refusalReason, retryAfterSeconds }: WireError): void {
    if (this.#ended) return
    this.#ended = true
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    const status = {
      'grpc-status': String(grpcCode),
      'grpc-message': grpcMessage(grpcSentence),
      ...(refusalReason ? { 'trellis-refusal-reason': refusalReason } : {}),
      ...(retryAfterSeconds ? pushback(String(retryAfterSeconds * 1000)) : {}),
    }
    if (this.#begun) {
      this.#trailers = status
      stream.end()
      return
    }
    const head = { ':status': 200, 'content-type': 'application/grpc', 'grpc-accept-encoding': acceptedEncodings }
    stream.respond({ ...head, ...status }, { ...withoutDate, endStream: true })
    discardRest(stream)
  }
}

/**
 * An option that Node's documentation names for HTTP/1 alone. Each end of a connection remembers headers that it has sent, up to
 * 4 KB of them. A date would fill that with what is never sent again. Flower's servers send none.
 */
const withoutDate = { sendDate: false }

/** When to come again: in gRPC's own words, which only its retry policies read, and in ours. */
const pushback = (ms: string): OutgoingHttpHeaders => ({ 'grpc-retry-pushback-ms': ms, 'trellis-retry-after-ms': ms })

/** Tells the client, once the response is out, that the rest of its request is not wanted. */
function discardRest(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return
  setImmediate(() => {
    if (!stream.destroyed && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
  })
}
