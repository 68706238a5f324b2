import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { releaseWarning } from '../base/version.ts'
import { type CallHead, type Connection, type IncomingCall, waitMsOf } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import { unlessRefused } from './cut-off.ts'
import type { Method } from './dispatch.ts'
import { httpErrorBody, messageTooLarge, refusalError, toWireError, type WireError } from './translate-errors.ts'

/** Serves protobuf over HTTP/1.1 (Flower's HTTP generation) and plain pages, on sockets that a listener has judged. */
export interface HttpDoor {
  accept(socket: Duplex, connection: Connection): void
  close(): void
}

/** A plain page such as `/metrics`; answers `undefined` when the path is not its own. The status is 200 unless it says so. */
export type Page = (path: string) => Promise<{ status?: number; contentType: string; body: string } | undefined>

export function createHttpDoor(
  methods: readonly Method[],
  pages: readonly Page[],
  log: Logger,
  { requestHeadMs, bodyWindowMs }: Pick<ConnectionBounds, 'requestHeadMs' | 'bodyWindowMs'>,
): HttpDoor {
  const connections = new WeakMap<object, Connection>()
  const routes = new Map(methods.map((method) => [`/v1/${method.route}`, method]))
  const server = createServer(
    {
      ...{ maxHeaderSize: limits.headerBytesMax, keepAliveTimeout: 75_000, noDelay: true },
      // How long a whole request takes depends on its size: bodies have a bound of their own.
      ...{ requestTimeout: 0, headersTimeout: requestHeadMs, connectionsCheckingInterval: requestHeadMs / 3 },
    },
    (request, response) => {
      const connection = connections.get(request.socket)
      if (!connection) return response.destroy()
      serve(request, response, connection).catch((error: unknown) => {
        log.error('HTTP request failed', { path: request.url, error })
        response.destroy()
      })
    },
  )

  // Node looks for requests that are late only in servers that listen. This one is handed its sockets.
  server.emit('listening')

  async function serve(request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> {
    const path = (request.url ?? '/').split('?', 1)[0] as string
    if (connection.peer.kind === 'refused') {
      sendError(response, refusalError(connection.peer))
      response.once('close', () => connection.close())
      return
    }
    const method = routes.get(path)
    if (method && request.method === 'POST') return serveMethod(method, request, response, connection)
    // Nobody will read the body.
    if (hasBody(request)) response.setHeader('connection', 'close')
    if (method) {
      response.setHeader('allow', 'POST')
      return sendJson(response, 405, JSON.stringify({ detail: 'Method Not Allowed' }))
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendJson(response, 404, notFound)
    if (path === '/health') return void response.writeHead(200).end()
    for (const page of pages) {
      const found = await page(path)
      if (found)
        return void response.writeHead(found.status ?? 200, { 'content-type': found.contentType }).end(found.body)
    }
    sendJson(response, 404, notFound)
  }

  async function serveMethod(
    method: Method,
    request: IncomingMessage,
    response: ServerResponse,
    connection: Connection,
  ): Promise<void> {
    try {
      const contentType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
      if (contentType !== 'application/protobuf') throw new DomainError('content-type')
      // Flower's programs log it and go on. (No release that speaks gRPC is too new for us.)
      const warning = releaseWarning(request.headersDistinct['flwr-package-version']?.[0])
      if (warning !== undefined) response.setHeader('flwr-version-incompatibility-message', warning)
      const head = toHead(method, request, response, connection)
      const incoming = { head, receive: (bytesMax: number) => readBody(request, bytesMax, bodyWindowMs) }
      if (method.streams) return await sendStream(method, incoming, response)
      const bytes = await unlessRefused(connection, () => method.unary(incoming))
      response.writeHead(200, {
        'content-type': 'application/protobuf',
        'content-length': bytes.length,
        ...(head.waitMs === undefined ? {} : { 'trellis-waited': '1' }),
      })
      response.end(bytes)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else sendError(response, toWireError(error, method.path, log))
    }
  }

  return {
    accept(socket, connection) {
      connections.set(socket, connection)
      server.emit('connection', socket)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Returns the whole body; throws as soon as it is known to be too large or too slow. */
async function readBody(request: IncomingMessage, bytesMax: number, windowMs: number): Promise<Uint8Array> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > bytesMax) throw messageTooLarge(bytesMax)
  if (announced > 0) return readExactly(request, announced, windowMs)
  const chunks: Buffer[] = []
  let size = 0
  await receive(request, windowMs, (chunk) => {
    size += chunk.length
    if (size > bytesMax) throw messageTooLarge(bytesMax)
    chunks.push(chunk)
  })
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

async function readExactly(request: IncomingMessage, length: number, windowMs: number): Promise<Uint8Array> {
  const body = Buffer.allocUnsafeSlow(length)
  let offset = 0
  await receive(request, windowMs, (chunk) => {
    chunk.copy(body, offset)
    offset += chunk.length
  })
  if (offset !== length) throw new DomainError('invalid-payload', 'The body is shorter than its content-length.')
  return body
}

/** Whoever sends a byte now and then would hold a connection, and what it has sent, for as long as it likes. */
async function receive(request: IncomingMessage, windowMs: number, take: (chunk: Buffer) => void): Promise<void> {
  let received = 0
  const slow = Promise.withResolvers<never>()
  const timer = setInterval(() => {
    if (received < limits.bodyBytesPerWindowMin) slow.reject(tooSlow(windowMs))
    received = 0
  }, windowMs)
  const all = async (): Promise<void> => {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      received += chunk.length
      take(chunk)
    }
  }
  try {
    await Promise.race([all(), slow.promise])
  } finally {
    clearInterval(timer)
  }
}

function tooSlow(windowMs: number): DomainError {
  return new DomainError(
    'request-too-slow',
    `The body came too slowly: less than ${limits.bodyBytesPerWindowMin} bytes in ${windowMs / 1000} s.`,
  )
}

function toHead(method: Method, request: IncomingMessage, response: ServerResponse, connection: Connection): CallHead {
  let controller: AbortController | undefined
  return {
    method: method.path,
    connection,
    get signal() {
      if (!controller) {
        const created = new AbortController()
        controller = created
        response.once('close', () => {
          if (!response.writableFinished) created.abort()
        })
      }
      return controller.signal
    },
    waitMs: waitMsOf(request.headersDistinct['trellis-wait-ms']?.[0]),
    header: (name) => request.headersDistinct[name] ?? [],
    binaryHeader: (name) => (request.headersDistinct[name] ?? []).slice(0, 1).map(fromBase64),
  }
}

/** Nothing for what is not base64 with its padding: Node would read whatever it can. */
function fromBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : new Uint8Array()
}

/** Frames of a 4-byte big-endian length and a message. Clients rely on early headers, so they wait for the first frame only briefly. */
async function sendStream(method: Method, { head, receive }: IncomingCall, response: ServerResponse): Promise<void> {
  const { signal } = head
  const received = Promise.withResolvers<void>()
  const incoming: IncomingCall = {
    head,
    receive: (bytesMax) => receive(bytesMax).finally(() => received.resolve()),
  }
  const iterator = method.stream(incoming)[Symbol.asyncIterator]()
  const first = iterator.next()
  // A refusal follows the body at once and still becomes a proper response.
  await Promise.race([first, received.promise.then(() => delay(firstFrameMs))])
  response.writeHead(200, { 'content-type': 'application/flower-protobuf-stream' })
  response.flushHeaders()
  for (let item = await first; !item.done && !signal.aborted; item = await iterator.next()) {
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32BE(item.value.length)
    response.write(head)
    if (!response.write(item.value))
      await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
  }
  await iterator.return?.()
  response.end()
}

const firstFrameMs = 10

function sendError(response: ServerResponse, error: WireError): void {
  if (error.refusalReason) response.setHeader('trellis-refusal-reason', error.refusalReason)
  response.setHeader('connection', 'close')
  sendJson(response, error.httpStatus === 400 && error.number === 1002 ? 415 : error.httpStatus, httpErrorBody(error))
}

const notFound = JSON.stringify({ detail: 'Not Found' })

function sendJson(response: ServerResponse, status: number, body: string): void {
  const bytes = Buffer.from(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
  response.end(bytes)
}
