import { createServer as createTcpServer, type Server } from 'node:net'
import { UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { takeTurns } from '../base/turns.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'
import { BodyBudget } from './body-budget.ts'
import type { Connection } from './call.ts'
import { type ConnectionBounds, usualBounds } from './connection-bounds.ts'
import { type Method, methodsOf } from './dispatch.ts'
import type { Drain } from './drain.ts'
import { Entrance, type Serve } from './entrance.ts'
import { createGrpcDoor } from './grpc-door.ts'
import { createHttpDoor, type Page, type Site } from './http-door.ts'
import type { Interceptor } from './interceptor.ts'
import type { JudgePeer } from './judged-connection.ts'
import type { ClientAuth } from './server-tls.ts'
import type { Service } from './service.ts'

/**
 * Owns a socket. Its entrance completes TLS handshakes, judges each peer (once a connection, before anything is dispatched),
 * and bounds connections whose peers are not judged yet. Behind it are both doors; ALPN or, in clear, the first bytes pick one.
 */
export interface Listener {
  readonly address: Address
  connections(): readonly Connection[]
  /**
   * Judges open connections again, all or those that are concerned. Connections whose peers are refused now are closed, with
   * the reason, and returned. Other work goes on meanwhile, however many connections there are.
   */
  judgeAgain(isConcerned?: (connection: Connection) => boolean): Promise<readonly Connection[]>
  /**
   * Accepts no more connections, closes each one after its last call, and returns whether all were closed in this time. To be
   * called after the calls have been told to end; see `Drain`.
   */
  drain(graceMs: number): Promise<boolean>
  close(graceMs?: number): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface ListenerOptions {
  /** For messages, e.g. `Fleet API`. */
  readonly name: string
  readonly address: string
  readonly services: readonly Service[]
  /** Observe every call of the services, in this order. */
  readonly interceptors?: readonly Interceptor[]
  /** Tells calls that the program is about to end. */
  readonly drain?: Drain
  /** Methods without a service description of ours. */
  readonly rawMethods?: readonly Method[]
  readonly pages?: readonly Page[]
  readonly site?: Site
  readonly log: Logger
  readonly tls?: TlsSource
  readonly clientAuth?: ClientAuth
  readonly judge?: JudgePeer
  /** Finds out what a judgement needs to know; `undefined` where everything is known. It never rejects, nor takes long. */
  readonly learn?: (chain: readonly Uint8Array[]) => Promise<void> | undefined
  /** What an OCSP responder says of the certificate of this listener, where clients are to be told. */
  readonly staple?: () => Uint8Array | undefined
  /** Told once about every judged connection, for the audit log and metrics. */
  readonly onJudged?: (connection: Connection) => void
  /** Called for every TLS handshake, for metrics. */
  readonly onHandshake?: (result: 'success' | 'failure') => void
  /** Shared by the listeners of a program; a listener has its own otherwise. */
  readonly bodyBudget?: BodyBudget
  /** Other ones than usual, for tests. */
  readonly bounds?: Partial<ConnectionBounds>
}

export async function startListener(options: ListenerOptions): Promise<Listener> {
  const wanted = parseAddress(options.address, options.name)
  const doors = createDoors(options)
  const entrance = new Entrance(options, doors.serve)
  const server = createTcpServer({ pauseOnConnect: true }, (socket) => entrance.arrive(socket))
  await listen(server, wanted, options)
  const replaced = options.tls?.subscribe(() => entrance.replaceTls())

  let closed: Promise<unknown> | undefined
  const stopListening = (): Promise<unknown> => {
    closed ??= new Promise((resolve) => server.close(resolve))
    return closed
  }
  const close = async (graceMs = 1000): Promise<void> => {
    replaced?.[Symbol.dispose]()
    const closed = stopListening()
    await doors.close(graceMs)
    entrance.close()
    await closed
  }
  return {
    address: boundAddress(server, wanted),
    connections: () => [...entrance.open],
    judgeAgain: (isConcerned = () => true) => judgeAgain(entrance, isConcerned, options),
    drain(graceMs) {
      void stopListening()
      return doors.drain(graceMs)
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

interface Doors {
  readonly serve: Serve
  drain(graceMs: number): Promise<boolean>
  close(graceMs: number): Promise<void>
}

/** Creates both doors to the services; they share one budget for bodies. */
function createDoors(options: ListenerOptions): Doors {
  const { log, pages = [], site } = options
  const methods = [...methodsOf(options.services, options.interceptors, options.drain), ...(options.rawMethods ?? [])]
  const bounds = { ...usualBounds, ...options.bounds }
  const budget = options.bodyBudget ?? new BodyBudget(bounds)
  const grpc = createGrpcDoor({ methods, log, budget, bounds })
  const http = createHttpDoor({ methods, pages, site, log, budget, bounds })
  return {
    serve: (wire, socket, connection) => ({ grpc, http })[wire].accept(socket, connection),
    drain: async (graceMs) => !(await Promise.all([grpc.drain(graceMs), http.drain(graceMs)])).includes(false),
    async close(graceMs) {
      await grpc.close(graceMs)
      http.close()
    },
  }
}

async function judgeAgain(
  { open }: Entrance,
  isConcerned: (connection: Connection) => boolean,
  { onJudged }: ListenerOptions,
): Promise<readonly Connection[]> {
  const cut: Connection[] = []
  const turn = takeTurns()
  for (const connection of [...open]) {
    // Asked several times a second about thousands of connections, of which usually none is concerned.
    if (!isConcerned(connection)) continue
    await turn()
    if (!open.has(connection) || !connection.judgeAgain()) continue
    cut.push(connection)
    onJudged?.(connection)
  }
  return cut
}

function boundAddress(server: Server, wanted: Address): Address {
  const bound = server.address()
  return typeof bound === 'object' && bound ? { host: wanted.host, port: bound.port } : wanted
}

function listen(server: Server, address: Address, options: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = formatAddress(address)
      if (error.code === 'EADDRINUSE')
        return reject(new UsageError(`Port in server address ${where} is already in use.`))
      reject(new UsageError(`Cannot listen on ${where} for the ${options.name}: ${error.message}.`, { cause: error }))
    })
    server.listen({ host: address.host, port: address.port, backlog: limits.listenBacklog }, resolve)
  })
}
