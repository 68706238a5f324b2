import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { BodyBudget } from './body-budget.ts'
import type { Connection } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { within } from './drain.ts'
import { serveHttpCall } from './http-call.ts'
import { sendError, sendJson } from './http-response.ts'
import { isRestPath, servedPaths } from './route.ts'
import { refusalError } from './translate-errors.ts'

/** Serves protobuf over HTTP/1.1 (Flower's HTTP generation, and the REST transport of 1.29) and plain pages, on sockets that a listener has judged. */
export interface HttpDoor {
  accept(socket: Duplex, connection: Connection): void
  /** Closes each connection after its last call; returns whether all were closed in this time. */
  drain(graceMs: number): Promise<boolean>
  close(): void
}

/** A plain page such as `/metrics`; returns `undefined` for the paths of others. The status defaults to 200. */
export type Page = (path: string) => Promise<{ status?: number; contentType: string; body: string } | undefined>

/**
 * Serves the paths of a website with requests and responses as Node has them, after the methods. Returns whether the path is one
 * of its own. Its long responses end with the signals of the connection.
 */
export type Site = (request: IncomingMessage, response: ServerResponse, connection: Connection) => Promise<boolean>

export interface HttpDoorOptions {
  readonly methods: readonly Method[]
  readonly pages: readonly Page[]
  readonly site?: Site | undefined
  readonly log: Logger
  readonly budget: BodyBudget
  readonly bounds: ConnectionBounds
}

export function createHttpDoor({ methods, pages, site, log, budget, bounds }: HttpDoorOptions): HttpDoor {
  const connections = new WeakMap<object, Connection>()
  const busy = new WeakMap<Connection, number>()
  const routes = new Map(methods.flatMap((method) => servedPaths(method.route).map((path) => [path, method])))
  const { requestHeadMs } = bounds
  const open = new Set<Promise<unknown>>()
  let isDraining = false
  const server = createServer(
    {
      ...{ maxHeaderSize: limits.headerBytesMax, keepAliveTimeout: 75_000, noDelay: true },
      // How long a whole request takes depends on its size: bodies have a bound of their own.
      ...{ requestTimeout: 0, headersTimeout: requestHeadMs, connectionsCheckingInterval: requestHeadMs / 3 },
    },
    (request, response) => {
      const connection = connections.get(request.socket)
      if (!connection) return response.destroy()
      busy.set(connection, (busy.get(connection) ?? 0) + 1)
      const { promise: ended, resolve: end } = Promise.withResolvers<void>()
      open.add(ended)
      response.once('close', () => {
        open.delete(ended)
        end()
      })
      response.once('close', () => {
        busy.set(connection, (busy.get(connection) ?? 1) - 1)
        // A refused peer has its reason now.
        if (connection.peer.kind === 'refused' || isDraining) connection.close()
        else discardRest(request, bounds.discardedMsMax)
      })
      serve(request, response, connection).catch((error: unknown) => {
        log.error('HTTP request failed', { path: request.url, error })
        response.destroy()
      })
    },
  )

  // Node looks for late requests only in servers that listen. This one is handed its sockets.
  server.emit('listening')

  async function serve(request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> {
    if (!isUnambiguous(request)) {
      response.setHeader('connection', 'close')
      return sendJson(response, 400, JSON.stringify({ detail: 'Bad Request' }))
    }
    const path = pathOf(request)
    if (connection.peer.kind === 'refused') return sendError(request, response, refusalError(connection.peer))
    const method = routes.get(path)
    if (method && request.method === 'POST')
      return serveHttpCall(method, request, response, connection, {
        budget,
        pace: bounds,
        log,
        isRest: isRestPath(path),
      })
    if (method) {
      response.setHeader('allow', 'POST')
      return sendJson(response, 405, JSON.stringify({ detail: 'Method Not Allowed' }))
    }
    if (await site?.(request, response, connection)) return
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendJson(response, 404, notFound)
    if (path === '/health') return void response.writeHead(200).end()
    // A client may ask many times at once and read nothing: a page is built when the responses before it have been sent.
    if (pages.length > 0 && !response.socket) await once(response, 'socket')
    for (const page of pages) {
      const found = await page(path)
      if (found)
        return void response.writeHead(found.status ?? 200, { 'content-type': found.contentType }).end(found.body)
    }
    sendJson(response, 404, notFound)
  }

  return {
    accept(socket, connection) {
      connections.set(socket, connection)
      // Its requests end with the reason, and the connection with them.
      const onCutOff = (): void => {
        if (!busy.get(connection)) connection.close()
      }
      connection.cutOff.addEventListener('abort', onCutOff, { once: true })
      socket.once('close', () => connection.cutOff.removeEventListener('abort', onCutOff))
      server.emit('connection', socket)
    },
    drain(graceMs) {
      isDraining = true
      server.closeIdleConnections()
      return within(graceMs, Promise.all(open))
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** SuperNodes of Flower 1.29 with `--rest` begin their paths with two slashes, if their `requests` is recent. */
function pathOf({ url = '/' }: IncomingMessage): string {
  const [path = '/'] = url.split('?', 1)
  return path.replace(/^\/\/+/, '/')
}

const notFound = JSON.stringify({ detail: 'Not Found' })

/** Node's parser lets pass what RFC 9112 wants refused: HTTP/0.9, and more than one `Host`. */
function isUnambiguous({ httpVersionMajor, headersDistinct }: IncomingMessage): boolean {
  return httpVersionMajor === 1 && (headersDistinct.host?.length ?? 0) <= 1
}

/**
 * Keeps a connection whose request was answered before its body was read: the rest of the body is read and thrown away, if
 * that is little and comes soon. A connection that is closed with bytes unread would be reset, and the response lost.
 */
function discardRest(request: IncomingMessage, msMax: number): void {
  const { socket } = request
  if (request.readableEnded || request.destroyed || socket.destroyed) return
  let discarded = 0
  const timer = setTimeout(() => socket.destroy(), msMax)
  request
    .on('data', (chunk: Buffer) => {
      discarded += chunk.length
      if (discarded > limits.discardedBytesMax) socket.destroy()
    })
    .once('close', () => clearTimeout(timer))
    .on('error', () => {})
    .resume()
}
