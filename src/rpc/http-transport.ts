import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Address, formatAddress } from './address.ts'
import { type ChannelTls, dial } from './dial.ts'
import { RpcError, statusOfHttp } from './rpc-error.ts'
import type { Answer, OutgoingCall, Transport } from './transport.ts'

/** Protobuf over HTTP/1.1 with kept-alive connections, as Flower's HTTP generation speaks it. */
export function openHttpTransport(address: Address, tls: ChannelTls): Transport {
  const where = formatAddress(address)
  const agent = new Agent({ keepAlive: true, maxSockets: 32, timeout: idleMs })
  const plain = tls === 'insecure'
  Object.assign(agent, {
    createConnection(_options: unknown, done: (error: Error | null, socket?: Duplex) => void): undefined {
      dial(address, tls, ['http/1.1']).then(
        ({ socket }) => done(null, socket),
        (error: Error) => done(error),
      )
    },
  })
  let closed = false
  return {
    get usable() {
      return !closed
    },
    unary: (call) => unary(agent, call, where, plain),
    stream: (call) => frames(agent, call, where, plain),
    close() {
      closed = true
      agent.destroy()
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

async function unary(agent: Agent, call: OutgoingCall, where: string, plain: boolean): Promise<Answer> {
  const response = await exchange(agent, call, where, plain, 'application/protobuf')
  const body = await readAll(response, where)
  if (response.statusCode !== 200) throw toError(response, body, where)
  return { body, waited: response.headers['trellis-waited'] === '1' }
}

async function* frames(agent: Agent, call: OutgoingCall, where: string, plain: boolean): AsyncGenerator<Uint8Array> {
  const response = await exchange(agent, call, where, plain, 'application/flower-protobuf-stream')
  if (response.statusCode !== 200) throw toError(response, await readAll(response, where), where)
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of response as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    while (pending.length >= 4) {
      const length = pending.readUInt32BE(0)
      if (pending.length < 4 + length) break
      yield pending.subarray(4, 4 + length)
      pending = pending.subarray(4 + length)
    }
  }
  if (pending.length > 0) throw broke(where)
}

/** A kept connection that the server has closed meanwhile fails at once: the call moves to another one in silence. */
async function exchange(...how: Parameters<typeof attempt>): Promise<IncomingMessage> {
  for (;;) {
    const response = await attempt(...how)
    if (response !== 'stale') return response
  }
}

function attempt(
  agent: Agent,
  call: OutgoingCall,
  where: string,
  plain: boolean,
  accept: string,
): Promise<IncomingMessage | 'stale'> {
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest({
      agent,
      host: where,
      method: 'POST',
      path: call.route,
      headers: {
        host: where,
        'content-type': 'application/protobuf',
        'content-length': call.body.length,
        accept,
        ...call.headers,
        ...Object.fromEntries(
          Object.entries(call.binaryHeaders).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
        ),
      },
    })
    const cancel = (error: RpcError): void => void request.destroy(error)
    const onAbort = (): void => cancel(new RpcError('deadline-exceeded', 'The call was cancelled.'))
    call.signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      call.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => cancel(new RpcError('deadline-exceeded', `${where} did not answer in time.`)),
            call.timeoutMs,
          )
    request.once('close', () => {
      clearTimeout(timer)
      call.signal?.removeEventListener('abort', onAbort)
    })
    request.once('response', resolve)
    request.once('error', (error: NodeJS.ErrnoException) => {
      if (error instanceof RpcError) reject(error)
      else if (request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) resolve('stale')
      // A TLS port closes such a connection without a word; so does a server that stops, hence no certainty.
      else if (plain && error.code === 'ECONNRESET') reject(closedUnanswered(where, error))
      else reject(broke(where, error))
    })
    if (call.signal?.aborted) onAbort()
    else request.end(call.body)
  })
}

async function readAll(response: IncomingMessage, where: string): Promise<Uint8Array> {
  const length = Number(response.headers['content-length'] ?? -1)
  try {
    if (length > 0) {
      const body = Buffer.allocUnsafeSlow(length)
      let offset = 0
      for await (const chunk of response as AsyncIterable<Buffer>) {
        chunk.copy(body, offset)
        offset += chunk.length
      }
      if (offset === length) return body
      throw broke(where)
    }
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    return Buffer.concat(chunks)
  } catch (error) {
    throw error instanceof RpcError ? error : broke(where, error)
  }
}

function toError(response: IncomingMessage, body: Uint8Array, where: string): RpcError {
  const httpStatus = response.statusCode ?? 500
  const refusalReason = response.headers['trellis-refusal-reason']
  let detail: unknown
  let number: unknown
  let extra: unknown
  try {
    const json = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>
    detail = json.detail ?? json.public_message
    number = json.code
    extra = json.extra ?? json.public_details
  } catch {
    // Not one of Flower's errors; the status says enough.
  }
  const sentence = typeof detail === 'string' ? detail : `${where} answered with HTTP status ${httpStatus}.`
  return new RpcError(statusOfHttp(httpStatus), typeof extra === 'string' ? `${sentence} ${extra}` : sentence, {
    number: typeof number === 'number' ? number : undefined,
    refusalReason: typeof refusalReason === 'string' ? refusalReason : undefined,
  })
}

function broke(where: string, cause?: unknown): RpcError {
  return new RpcError('unavailable', `The connection to ${where} broke.`, { kind: 'unreachable', cause })
}

function closedUnanswered(where: string, cause: unknown): RpcError {
  return new RpcError(
    'unavailable',
    `${where} closed the connection without an answer: if it is a TLS port, connect without --insecure (insecure = true) and give its root certificate.`,
    { kind: 'unreachable', cause },
  )
}
