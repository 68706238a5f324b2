import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { releaseWarning } from '../base/version.ts'
import { ArrivingBytes } from './arriving-bytes.ts'
import type { BodyBudget } from './body-budget.ts'
import type { ByteRoom } from './byte-shares.ts'
import { type CallHead, type Connection, type IncomingCall, type ReceiveOptions, waitMsOf } from './call.ts'
import { unlessRefused } from './cut-off.ts'
import type { Method } from './dispatch.ts'
import { lengthOf } from './encode-in-turns.ts'
import { sendError } from './http-response.ts'
import { closeContents, heldBytesOf, openContents } from './outgoing.ts'
import { type BodyPace, receiveChunks } from './receive-body.ts'
import { ResponseRoom } from './response-room.ts'
import { messageTooLarge, toWireError } from './translate-errors.ts'
import { endWithParts, type Reader, type ReadPace, writeParts } from './write-parts.ts'

export interface HttpCallOptions {
  readonly budget: BodyBudget
  readonly pace: BodyPace & ReadPace
  readonly log: Logger
  /** The call came over the REST transport of Flower 1.29. */
  readonly isRest: boolean
}

/** Serves one call of Flower's HTTP generation: a protobuf body each way, or a body and a stream of frames. */
export async function serveHttpCall(
  method: Method,
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection,
  { budget, pace, log, isRest }: HttpCallOptions,
): Promise<void> {
  const room = budget.open(connection)
  const responses = new ResponseRoom(room.response)
  const reader: Reader = {
    ...{ connection, pace },
    onTooSlow: (pace) =>
      log.info('Closed a connection whose peer does not read', { peer: connection.remoteAddress, pace }),
  }
  const cancel = new AbortController()
  try {
    const contentType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
    if (contentType !== 'application/protobuf') throw new DomainError('content-type')
    // Flower's programs log it and go on. (No release that speaks gRPC is too new for Trellis.)
    const warning = releaseWarning(request.headersDistinct['flwr-package-version']?.[0])
    if (warning !== undefined) response.setHeader('flwr-version-incompatibility-message', warning)
    const head = toHead(method, request, response, connection, cancel, responses)
    const incoming: IncomingCall = { head, receive: (...args) => receiveBody(request, room.request, pace, ...args) }
    if (method.streams) return await sendStream(method, incoming, response, responses, reader)
    const encoded = await unlessRefused(connection, () => method.unary(incoming))
    room.request.release()
    await responses.hold(heldBytesOf(encoded), head)
    try {
      await openContents(encoded)
      response.writeHead(200, {
        'content-type': 'application/protobuf',
        'content-length': lengthOf(encoded),
        ...(head.waitMs === undefined ? {} : { 'trellis-waited': '1' }),
      })
      await (await endWithParts(response, encoded, reader)).written
    } finally {
      await closeContents(encoded)
    }
  } catch (error) {
    // After a cut-off the handler is still waiting: it must not take anything that its caller never receives.
    cancel.abort()
    const wire = toWireError(error, method.path, log)
    // Over REST any response other than 200 ends SuperNodes of Flower. They try again if the connection breaks.
    if (isRest && (wire.status === 'unavailable' || wire.retryAfterSeconds !== undefined)) return void request.destroy()
    if (!response.headersSent) return sendError(request, response, wire)
    if (wire.refusalReason === undefined) return void response.destroy()
    // The status has been sent: the reason follows the frames.
    response.addTrailers({
      'trellis-refusal-status': String(wire.httpStatus),
      'trellis-refusal-reason': wire.refusalReason,
      'trellis-refusal': encodeURIComponent(wire.httpSentence.toWellFormed()),
    })
    response.end()
  } finally {
    room.request.release()
    room.response.release()
  }
}

/**
 * Returns the whole body; throws as soon as it is known to be too large, too slow, or without room. The rest of a malformed one
 * is thrown away as it comes: clients over HTTP/1.1 read no response before they have sent everything.
 */
async function receiveBody(
  request: IncomingMessage,
  room: ByteRoom,
  pace: BodyPace,
  bytesMax: number,
  { cut, judge }: ReceiveOptions = {},
): Promise<Uint8Array> {
  const { 'content-length': length } = request.headers
  if (Number(length ?? 0) > bytesMax) throw messageTooLarge(bytesMax)
  const body = cut ?? new ArrivingBytes(0)
  let received = 0
  let fault: { readonly error: unknown } | undefined
  body.announce(Number(length ?? bytesMax), (bytes, announced) => {
    try {
      judge?.(bytes, announced)
    } catch (error) {
      fault = { error }
    }
  })
  await receiveChunks(request, room, pace, (chunk) => {
    received += chunk.length
    if (received > bytesMax) throw messageTooLarge(bytesMax)
    if (!fault) return body.add(chunk)?.then(() => 'more') ?? 'more'
    room.give(chunk.length)
    return 'more'
  })
  if (fault) throw fault.error
  return body.bytes()
}

function toHead(
  method: Method,
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection,
  cancel: AbortController,
  responses: ResponseRoom,
): CallHead {
  let isWatched = false
  const head: CallHead = {
    method: method.path,
    connection,
    get signal() {
      if (!isWatched) {
        isWatched = true
        if (response.destroyed && !response.writableFinished) cancel.abort()
        response.once('close', () => {
          if (!response.writableFinished) cancel.abort()
        })
      }
      return cancel.signal
    },
    waitMs: waitMsOf(request.headersDistinct['trellis-wait-ms']?.[0]),
    header: (name) => request.headersDistinct[name] ?? [],
    binaryHeader: (name) => (request.headersDistinct[name] ?? []).slice(0, 1).map(fromBase64),
    makeRoom: (bytes) => responses.reserve(bytes, head),
  }
  return head
}

/** Returns nothing unless the text is base64 with its padding: Node would read whatever it can. */
function fromBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : new Uint8Array()
}

/** Frames of a 4-byte big-endian length and a message. Clients rely on early headers, so they wait for the first frame only briefly. */
async function sendStream(
  method: Method,
  { head, receive }: IncomingCall,
  response: ServerResponse,
  responses: ResponseRoom,
  reader: Reader,
): Promise<void> {
  const { signal, connection } = head
  const received = Promise.withResolvers<void>()
  const incoming: IncomingCall = {
    head,
    receive: (...args) => receive(...args).finally(() => received.resolve()),
  }
  const send = async (): Promise<void> => {
    const iterator = method.stream(incoming)[Symbol.asyncIterator]()
    try {
      const first = iterator.next()
      // A refusal follows the body at once and still becomes a proper response.
      await Promise.race([first, received.promise.then(() => delay(firstFrameMs))])
      if (connection.cutOff.aborted) return
      response.writeHead(200, { 'content-type': 'application/flower-protobuf-stream' })
      response.flushHeaders()
      for (let item = await first; !item.done && !signal.aborted; item = await iterator.next()) {
        if (connection.cutOff.aborted) return
        const length = Buffer.allocUnsafe(4)
        length.writeUInt32BE(lengthOf(item.value))
        await responses.hold(heldBytesOf(item.value), head)
        await writeParts(response, [length, ...item.value], reader)
        responses.written()
      }
      response.end()
    } finally {
      // Or the handler would stay where it is for ever.
      await iterator.return?.()
    }
  }
  await unlessRefused(connection, send)
}

const firstFrameMs = 10
