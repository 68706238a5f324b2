import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import type { Socket } from 'node:net'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { CallFailure } from './call-failures.ts'
import type { ContentCut } from './content-cut.ts'
import { framed } from './grpc-frames.ts'
import { ReceivedBody } from './received-body.ts'
import { callCancelled, RpcError, refusedByOther, retryAfterOf, statusOfGrpcCode } from './rpc-error.ts'
import { sendParts, unreadable } from './send-parts.ts'
import type { Answer, OutgoingCall, Transport } from './transport.ts'

/**
 * gRPC's client half on Node's HTTP/2: a length-prefixed message each way and a status in the trailers. Our own because
 * the TLS socket must stay in our hands: ALPN decides the generation, and certificates are replaced while calls run.
 */
export async function openGrpcTransport(
  socket: Socket,
  where: string,
  settingsMs: number = limits.http2SettingsMs,
): Promise<Transport> {
  const session = connect(`http://${where}`, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: windowBytes },
    maxSessionMemory: 256,
  })
  await ready(session, where, settingsMs)
  return {
    get usable() {
      return !session.closed && !session.destroyed
    },
    unary: (call) => unary(session, call, where),
    stream: (call) => messages(session, call, where),
    close() {
      session.close()
      setTimeout(() => session.destroy(), 1000).unref()
    },
    retire: () => session.close(),
  }
}

const windowBytes = 8 * 1024 * 1024

/** Waits for the settings by which a server begins to speak HTTP/2. */
function ready(session: ClientHttp2Session, where: string, waitMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (failure: CallFailure, what: string, cause?: unknown): void => {
      clearTimeout(timer)
      session.destroy()
      const kind = failure === 'not-grpc' ? 'protocol' : 'unreachable'
      reject(new RpcError('unavailable', `${where} ${what}`, { kind, failure, cause }))
    }
    const cut = (cause?: NodeJS.ErrnoException): void => {
      // nghttp2 could not read the first bytes. Other errors, and none at all, are an end without a word.
      if (cause?.code === 'ERR_HTTP2_ERROR') fail('not-grpc', 'does not speak gRPC.', cause)
      else fail('settings-cut', cutSentence, cause)
    }
    const late = (): void =>
      fail('settings-late', `did not begin to speak HTTP/2 within ${waitMs / 1000} s: it may be too busy.`)
    const timer = setTimeout(late, waitMs)
    session.once('error', cut)
    session.once('close', cut)
    session.once('remoteSettings', () => {
      // This comes later than the settings: they may have been the last that the server sent.
      if (session.destroyed) return cut()
      clearTimeout(timer)
      session.setLocalWindowSize(2 * windowBytes)
      session.off('error', cut).off('close', cut)
      session.on('error', () => {})
      resolve()
    })
  })
}

const cutSentence = 'closed the connection before it spoke HTTP/2: it may be too busy, or a proxy without a server.'

async function unary(session: ClientHttp2Session, call: OutgoingCall, where: string): Promise<Answer> {
  const exchange = start(session, call, where, 1)
  let body: Uint8Array | undefined
  for await (const message of exchange.messages()) body = message
  return { body: body ?? new Uint8Array(), waited: exchange.headers()?.['trellis-waited'] === '1' }
}

async function* messages(session: ClientHttp2Session, call: OutgoingCall, where: string): AsyncGenerator<Uint8Array> {
  yield* start(session, call, where, Number.POSITIVE_INFINITY).messages()
}

interface Exchange {
  headers(): IncomingHttpHeaders | undefined
  messages(): AsyncGenerator<Uint8Array>
}

function start(session: ClientHttp2Session, call: OutgoingCall, where: string, messagesMax: number): Exchange {
  const stream = openStream(session, call, where)
  let headers: IncomingHttpHeaders | undefined
  let trailers: IncomingHttpHeaders | undefined
  let failure: RpcError | DomainError | undefined
  stream.on('response', (received) => {
    headers = received
  })
  stream.on('trailers', (received) => {
    trailers = received
  })
  // The async iteration below reports errors; without a listener a late one would be uncaught.
  stream.on('error', () => {})
  const cancel = (error: RpcError): void => {
    failure = error
    stream.close(constants.NGHTTP2_CANCEL)
  }
  const onAbort = (): void => cancel(callCancelled())
  if (call.signal?.aborted) onAbort()
  call.signal?.addEventListener('abort', onAbort, { once: true })
  const timer =
    call.timeoutMs === undefined
      ? undefined
      : setTimeout(() => cancel(new RpcError('deadline-exceeded', `${where} did not answer in time.`)), call.timeoutMs)
  sendParts(stream, framed(call.body)).catch((error: unknown) => cancel(unreadable(error)))

  async function* received(): AsyncGenerator<Uint8Array> {
    try {
      yield* unframe(stream, where, { cut: call.cut, messagesMax })
    } catch (cause) {
      // So a server responds to calls that cross with the end of a connection: none of it was done (RFC 9113 section 8.7).
      const kind = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !headers ? 'untaken' : 'unreachable'
      // A proxy's error page is no gRPC message, and a proxy does not read the rest of a body that it refuses.
      const httpStatus = Number(headers?.[':status'] ?? 200)
      if (headers && httpStatus !== 200) failure ??= refusedByOther(httpStatus, headers, where)
      // A file that cannot be written is no fault of the connection.
      if (cause instanceof RpcError || cause instanceof DomainError) failure ??= cause
      failure ??= new RpcError('unavailable', `The connection to ${where} broke.`, {
        ...{ kind, cause, failure: kind === 'untaken' ? kind : 'connection-broken' },
      })
    } finally {
      clearTimeout(timer)
      call.signal?.removeEventListener('abort', onAbort)
      if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL)
    }
    if (failure) throw failure
    throwOnStatus(headers, trailers, where)
  }
  return { headers: () => headers, messages: received }
}

function openStream(session: ClientHttp2Session, call: OutgoingCall, where: string): ClientHttp2Stream {
  const headers = {
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: call.path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(call.timeoutMs === undefined ? {} : { 'grpc-timeout': `${Math.ceil(call.timeoutMs)}m` }),
    ...call.headers,
    ...Object.fromEntries(
      Object.entries(call.binaryHeaders).map(([name, value]) => [`${name}-bin`, Buffer.from(value).toString('base64')]),
    ),
  }
  try {
    return session.request(headers, { endStream: false })
  } catch (cause) {
    // It has ended since it was looked at.
    throw new RpcError('unavailable', `The connection to ${where} broke.`, { kind: 'untaken', cause })
  }
}

/** Cuts the byte stream into messages. Memory is taken as their bytes arrive, not by the length that the server names. */
async function* unframe(
  stream: ClientHttp2Stream,
  where: string,
  { cut, messagesMax }: { readonly cut: ContentCut | undefined; readonly messagesMax: number },
): AsyncGenerator<Uint8Array> {
  const prefix = Buffer.alloc(5)
  let prefixFilled = 0
  let messages = 0
  let message: ReceivedBody | undefined
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let offset = 0
    while (offset < chunk.length || message?.isComplete) {
      if (!message) {
        const take = Math.min(5 - prefixFilled, chunk.length - offset)
        chunk.copy(prefix, prefixFilled, offset, offset + take)
        prefixFilled += take
        offset += take
        if (prefixFilled < 5) break
        if (prefix[0] !== 0) throw malformed(`${where} compressed its response, which was not asked for.`)
        if (++messages > messagesMax) throw malformed(`${where} sent more than one message for one response.`)
        message = new ReceivedBody(prefix.readUInt32BE(1), where, cut)
      }
      const { taken, wait } = message.take(chunk.subarray(offset))
      if (wait) await wait
      offset += taken
      if (!message.isComplete) break
      yield message.bytes()
      message = undefined
      prefixFilled = 0
    }
  }
  if (message || prefixFilled > 0) throw new Error('message cut short')
}

function throwOnStatus(
  headers: IncomingHttpHeaders | undefined,
  trailers: IncomingHttpHeaders | undefined,
  where: string,
): void {
  const said = trailers ?? headers ?? {}
  const code = said['grpc-status']
  if (code === '0') return
  const httpStatus = Number(headers?.[':status'] ?? 200)
  if (code === undefined && httpStatus !== 200) throw refusedByOther(httpStatus, said, where)
  if (code === undefined) {
    throw new RpcError('unavailable', `The connection to ${where} broke before the answer was complete.`, {
      ...({ kind: 'unreachable', failure: 'connection-broken' } as const),
    })
  }
  const message = decodeURIComponentSafely(String(said['grpc-message'] ?? ''))
  const refusalReason = said['trellis-refusal-reason']
  throw new RpcError(statusOfGrpcCode(Number(code)), message || `${where} answered with gRPC status ${code}.`, {
    refusalReason: typeof refusalReason === 'string' ? refusalReason : undefined,
    retryAfterMs: retryAfterOf(said),
  })
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function malformed(sentence: string): RpcError {
  return new RpcError('internal', sentence, { kind: 'protocol' })
}
