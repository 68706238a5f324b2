import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type Address, formatAddress } from './address.ts'
import type { ContentCut } from './content-cut.ts'
import { type ChannelTls, dial } from './dial.ts'
import { lengthOf } from './encode-in-turns.ts'
import { ReceivedBody, responseTooLarge } from './received-body.ts'
import { callCancelled, RpcError, refusedByOther, retryAfterOf, statusOfHttp } from './rpc-error.ts'
import { sendParts, unreadable } from './send-parts.ts'
import type { Answer, OutgoingCall, Transport } from './transport.ts'

/**
 * Protobuf over HTTP/1.1 with kept-alive connections, as Flower's HTTP generation speaks it. Each call has a connection while
 * it is under way. So the callers bound the connections: a ServerApp by the objects that it fetches at the same time
 * (`repliesFetchedAtOnce` times `transfersAtOnce`), a SuperExec by its apps (`appProcessesMax`), of which each has a heartbeat
 * and a transfer. A bound here would make calls wait for held ones, in a queue of Node's that loses calls when the server ends.
 *
 * @param isGuess the server has not shown which wire it speaks: the transport is given up if its first call has no response.
 */
export function openHttpTransport(address: Address, tls: ChannelTls, isGuess = false): Transport {
  const where = formatAddress(address)
  const agent = new Agent({
    ...{ keepAlive: true, maxFreeSockets: limits.idleHttpConnectionsMax, timeout: idleMs },
    // The Agent sets it for a connection that it keeps, and would probe each second.
    keepAliveMsecs: limits.serverProbes.idleMs,
  })
  // A call that must not be repeated gets a connection of its own, which the server cannot have closed meanwhile.
  const single = new Agent({ keepAlive: false })
  const createConnection = (_options: unknown, done: (error: Error | null, socket?: Duplex) => void): undefined => {
    dial(address, tls, ['http/1.1']).then(
      ({ socket }) => done(null, socket),
      (error: Error) => done(error),
    )
  }
  for (const each of [agent, single]) Object.assign(each, { createConnection })
  const wire: Wire = {
    where,
    plain: tls === 'insecure',
    agentOf: ({ isRepeatable }) => (isRepeatable ? agent : single),
    onResponse: () => {
      isGuess = false
    },
    onNoResponse: () => {
      if (isGuess) closed = true
    },
  }
  let closed = false
  return {
    get usable() {
      return !closed
    },
    unary: (call) => unary(wire, call),
    stream: (call) => frames(wire, call),
    close() {
      closed = true
      agent.destroy()
      single.destroy()
    },
    retire() {
      closed = true
      // From now on a connection ends with its call; those without one end at once.
      Object.assign(agent, { keepAlive: false })
      for (const socket of Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy()
    },
  }
}

/** Python's servers close connections that were idle for 5 s: a call must not meet that moment. */
const idleMs = 4000

interface Wire {
  readonly where: string
  readonly plain: boolean
  agentOf(call: OutgoingCall): Agent
  onResponse(): void
  onNoResponse(): void
}

async function unary(wire: Wire, call: OutgoingCall): Promise<Answer> {
  const response = await exchange(wire, call, 'application/protobuf')
  if (response.statusCode !== 200) throw await toError(response, wire.where)
  const body = await readAll(response, wire.where, call.cut)
  return { body, waited: response.headers['trellis-waited'] === '1' }
}

async function* frames(wire: Wire, call: OutgoingCall): AsyncGenerator<Uint8Array> {
  const { where } = wire
  const response = await exchange(wire, call, 'application/flower-protobuf-stream')
  if (response.statusCode !== 200) throw await toError(response, where)
  const prefix = Buffer.alloc(4)
  let prefixFilled = 0
  let frame: ReceivedBody | undefined
  for await (const chunk of chunksOf(response, where)) {
    let offset = 0
    while (offset < chunk.length || frame?.isComplete) {
      if (!frame) {
        const taken = chunk.copy(prefix, prefixFilled, offset, offset + 4 - prefixFilled)
        prefixFilled += taken
        offset += taken
        if (prefixFilled < 4) break
        frame = new ReceivedBody(prefix.readUInt32BE(0), where)
      }
      offset += frame.take(chunk.subarray(offset)).taken
      if (!frame.isComplete) break
      yield frame.bytes()
      frame = undefined
      prefixFilled = 0
    }
  }
  throwIfCutOff(response)
  if (frame || prefixFilled > 0) throw broke(where)
}

async function* chunksOf(response: IncomingMessage, where: string): AsyncGenerator<Buffer> {
  try {
    yield* response as AsyncIterable<Buffer>
  } catch (error) {
    throw broke(where, error)
  }
}

/** A stream that the server cut off, e.g. because our certificate was revoked, ends with the reason in its trailers. */
function throwIfCutOff({ trailers }: IncomingMessage): void {
  const {
    'trellis-refusal-status': status,
    'trellis-refusal-reason': refusalReason,
    'trellis-refusal': said,
  } = trailers
  if (refusalReason === undefined) return
  throw new RpcError(statusOfHttp(Number(status)), decodeText(said ?? refusalReason), { refusalReason })
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/**
 * A kept connection that the server has closed meanwhile fails at once: the call is made again over another one. A server that is
 * killed while it holds the call looks the same, so a call that is accepted only once is left to the caller.
 */
async function exchange(wire: Wire, call: OutgoingCall, accept: string): Promise<IncomingMessage> {
  try {
    for (;;) {
      const response = await attempt(wire, call, accept)
      if (response === 'stale') continue
      wire.onResponse()
      return response
    }
  } catch (error) {
    wire.onNoResponse()
    throw error
  }
}

function attempt(wire: Wire, call: OutgoingCall, accept: string): Promise<IncomingMessage | 'stale'> {
  const { where, plain } = wire
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest({
      agent: wire.agentOf(call),
      host: where,
      method: 'POST',
      path: call.route,
      headers: {
        host: where,
        'content-type': 'application/protobuf',
        'content-length': lengthOf(call.body),
        accept,
        ...call.headers,
        ...Object.fromEntries(
          Object.entries(call.binaryHeaders).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
        ),
      },
    })
    const over = (): void => {
      clearTimeout(timer)
      call.signal?.removeEventListener('abort', onAbort)
    }
    const cancel = (error: RpcError): void => {
      over()
      // A request tells of its end only when it has a connection.
      reject(error)
      request.destroy(error)
    }
    const onAbort = (): void => cancel(callCancelled())
    call.signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      call.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => cancel(new RpcError('deadline-exceeded', `${where} did not answer in time.`)),
            call.timeoutMs,
          )
    request.once('close', over)
    request.once('response', resolve)
    request.on('error', (error: NodeJS.ErrnoException) => {
      const isReset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
      if (error instanceof RpcError) reject(error)
      else if (request.reusedSocket && isReset && !call.isAcceptedOnce) resolve('stale')
      // A TLS port closes such a connection without a word; so does a server that stops, hence no certainty.
      else if (plain && error.code === 'ECONNRESET') reject(closedUnanswered(where, error))
      else reject(broke(where, error))
    })
    if (call.signal?.aborted) onAbort()
    else sendParts(request, call.body).catch((error: unknown) => cancel(unreadable(error)))
  })
}

async function readAll(response: IncomingMessage, where: string, cut: ContentCut | undefined): Promise<Uint8Array> {
  const length = Number(response.headers['content-length'] ?? -1)
  try {
    if (length > 0) {
      const body = new ReceivedBody(length, where, cut)
      for await (const chunk of response as AsyncIterable<Buffer>) {
        const { wait } = body.take(chunk)
        if (wait) await wait
      }
      if (body.isComplete) return body.bytes()
      throw broke(where)
    }
    if (!cut) return await readSome(response, limits.messageBytesMax, () => responseTooLarge(where))
    cut.announce(limits.messageBytesMax)
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (cut.length + chunk.length > limits.messageBytesMax) throw responseTooLarge(where)
      await cut.add(chunk)
    }
    return cut.bytes()
  } catch (error) {
    response.destroy()
    // A file that cannot be written is no fault of the connection.
    throw error instanceof RpcError || error instanceof DomainError ? error : broke(where, error)
  }
}

async function readSome(response: IncomingMessage, bytesMax: number, tooLarge: () => Error): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > bytesMax) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function toError(response: IncomingMessage, where: string): Promise<RpcError> {
  const { statusCode = 500, headers } = response
  const body = await readSome(response, limits.errorBodyBytesMax, () => responseTooLarge(where)).catch(() => {
    response.destroy()
    return Buffer.alloc(0)
  })
  const refusalReason = headers['trellis-refusal-reason']
  const known = flowerErrorOf(body)
  if (!known && refusalReason === undefined) return refusedByOther(statusCode, headers, where)
  const { detail, number, extra } = known ?? {}
  const sentence = typeof detail === 'string' ? detail : `${where} answered with HTTP status ${statusCode}.`
  return new RpcError(statusOfHttp(statusCode), typeof extra === 'string' ? `${sentence} ${extra}` : sentence, {
    number: typeof number === 'number' ? number : undefined,
    refusalReason: typeof refusalReason === 'string' ? refusalReason : undefined,
    retryAfterMs: retryAfterOf(headers),
  })
}

/** Returns what one of Flower's errors says; `undefined` for the page of a proxy. */
function flowerErrorOf(body: Buffer): { detail: unknown; number: unknown; extra: unknown } | undefined {
  try {
    const json = JSON.parse(body.toString()) as Record<string, unknown>
    return { detail: json.detail ?? json.public_message, number: json.code, extra: json.extra ?? json.public_details }
  } catch {
    return undefined
  }
}

function broke(where: string, cause?: unknown): RpcError {
  return new RpcError('unavailable', `The connection to ${where} broke.`, {
    ...({ kind: 'unreachable', failure: 'connection-broken' } as const),
    cause,
  })
}

function closedUnanswered(where: string, cause: unknown): RpcError {
  return new RpcError(
    'unavailable',
    `${where} closed the connection without an answer: if it is a TLS port, connect without --insecure (insecure = true) and give its root certificate.`,
    { kind: 'unreachable', cause },
  )
}
