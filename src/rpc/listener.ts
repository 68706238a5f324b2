import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { LogThrottle } from '../base/log-throttle.ts'
import { withoutLegacyCertificate } from '../base/tls-connect.ts'
import { takeTurns } from '../base/turns.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'
import { Admission } from './admission.ts'
import { BodyBudget } from './body-budget.ts'
import type { Connection } from './call.ts'
import { type ConnectionBounds, usualBounds } from './connection-bounds.ts'
import { ConnectionShares } from './connection-shares.ts'
import { type Method, methodsOf } from './dispatch.ts'
import { createGrpcDoor } from './grpc-door.ts'
import { handshakeFailure, tlsOnPlainPort } from './handshake-failure.ts'
import { createHttpDoor, type Page } from './http-door.ts'
import type { Interceptor } from './interceptor.ts'
import { JudgedConnection, type JudgePeer } from './judged-connection.ts'
import { peerChain } from './peer-chain.ts'
import { tellRefusal } from './refusal-door.ts'
import { type ClientAuth, tlsOptions } from './server-tls.ts'
import type { Service } from './service.ts'

/**
 * Owns a socket: TLS, the judgement of each peer (once a connection, before anything is dispatched), and the bounds on
 * those who have not been judged. Behind it stand both doors; ALPN or, in clear, the first bytes pick one.
 */
export interface Listener {
  readonly address: Address
  connections(): readonly Connection[]
  /**
   * Judges open connections again, all or those that are concerned; those that are refused now hear why and are closed.
   * Answers these. Other work goes on meanwhile, however many connections there are.
   */
  judgeAgain(isConcerned?: (connection: Connection) => boolean): Promise<readonly Connection[]>
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
  /** Methods without a service description of ours. */
  readonly rawMethods?: readonly Method[]
  readonly pages?: readonly Page[]
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
  /** Told of every TLS handshake, for metrics. */
  readonly onHandshake?: (result: 'success' | 'failure') => void
  /** Shared by the listeners of a program; a listener has its own otherwise. */
  readonly bodyBudget?: BodyBudget
  /** Other ones than usual, for tests. */
  readonly bounds?: Partial<ConnectionBounds>
}

export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { log, name } = options
  const wanted = parseAddress(options.address, name)
  const open = new Set<JudgedConnection>()
  const throttle = new LogThrottle()
  const methods = [...methodsOf(options.services, options.interceptors), ...(options.rawMethods ?? [])]
  const bounds = { ...usualBounds, ...options.bounds }
  const budget = options.bodyBudget ?? new BodyBudget(bounds)
  const grpcDoor = createGrpcDoor({ methods, log, budget, bounds })
  const httpDoor = createHttpDoor({ methods, pages: options.pages ?? [], log, budget, bounds })
  const shares = new ConnectionShares(bounds)

  const tlsServer = options.tls && createTlsServer(tlsOptions(options.tls.current(), options.clientAuth))
  const admission = new Admission({
    ...{ atOnce: limits.handshakesAtOnce, turnMs: limits.handshakeTurnMs },
    start: (socket) => (tlsServer ? void tlsServer.emit('connection', socket) : pickPlainDoor(socket)),
    turnAway: tlsServer ? turnAwayTls : (socket) => void socket.destroy(),
    onCrowd: (socket, isTurnedAway) =>
      isTurnedAway
        ? warn('crowd', `${limits.connectionsWaitingMax} connections wait for a handshake: more are closed.`, socket)
        : warn('line', `${limits.connectionsUnjudgedMax} connections are in their handshake: more wait.`, socket),
  })
  // Nothing is read of a connection before its turn.
  const server: Server = createTcpServer({ pauseOnConnect: true })
  server.on('connection', (socket: Socket) => {
    // The doors own the socket later; until then a reset must not become an uncaught error.
    socket.on('error', () => socket.destroy())
    admission.arrive(endpointsOf(socket), socket)
  })
  const { staple } = options
  if (staple) {
    tlsServer?.on(
      'OCSPRequest',
      (_leaf: Buffer, _issuer: Buffer, callback: (error: null, der: Buffer | null) => void) => {
        const der = staple()
        callback(null, der ? Buffer.from(der) : null)
      },
    )
  }
  if (tlsServer) {
    tlsServer.on('secureConnection', (socket: TLSSocket) => {
      options.onHandshake?.('success')
      withoutLegacyCertificate(socket)
      admission.endTurn(endpointsOf(socket))
      socket.on('error', () => socket.destroy())
      const chain = options.clientAuth && options.clientAuth !== 'none' ? peerChain(socket) : []
      if (socket.alpnProtocol) return learnAndAdmit(socket, socket.alpnProtocol === 'h2' ? 'grpc' : 'http', chain)
      // A tunnel carries what its client speaks without saying what that is.
      onFirstBytes(socket, (first) => {
        const wire = wireOf(first)
        learnAndAdmit(socket, wire, chain)
      })
    })
    tlsServer.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      options.onHandshake?.('failure')
      const sentence = handshakeFailure(error)
      if (sentence) warn(error.code ?? sentence, sentence, socket)
      else log.debug('A client hung up during the TLS handshake', { listener: name, peer: socket.remoteAddress })
      socket.destroy()
    })
  }

  /** Logs one line a minute for each cause and peer: any program that can connect could fill the log. */
  function warn(cause: string, sentence: string, { remoteAddress }: Socket): void {
    const fields = throttle.admit(`${cause} ${remoteAddress}`)
    if (fields) log.warn(`${name}: ${sentence}`, { peer: remoteAddress, ...fields })
  }

  function pickPlainDoor(socket: Socket): void {
    admission.endTurn(endpointsOf(socket))
    onFirstBytes(socket, (first) => {
      // 0x16 opens a TLS handshake. Words that are not TLS tell the client what it met; a mere end could be a bad network.
      if (first[0] === 0x16) {
        warn('tls', tlsOnPlainPort, socket)
        return void socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      }
      admit(socket, wireOf(first), false, [])
    })
  }

  /** Connections that wait for an OCSP response do not count towards the limit on unjudged connections. */
  function learnAndAdmit(socket: Socket, wire: 'grpc' | 'http', chain: readonly Uint8Array[]): void {
    const isRoom = admission.count('learning') < limits.connectionsLearningMax
    const learnt = isRoom ? options.learn?.(chain) : undefined
    if (!learnt) admit(socket, wire, true, chain)
    else if (admission.move(endpointsOf(socket), 'learning')) learnt.then(() => admit(socket, wire, true, chain))
  }

  function admit(socket: Socket, wire: 'grpc' | 'http', secure: boolean, chain: readonly Uint8Array[]): void {
    if (socket.destroyed || socket.remotePort === undefined) return
    const { judge } = options
    const connection = new JudgedConnection(
      socket,
      secure,
      chain,
      judge && shares.limit(judge, socket.remoteAddress ?? ''),
    )
    open.add(connection)
    const leave = judge ? shares.enter(connection) : () => {}
    socket.once('close', () => {
      open.delete(connection)
      leave()
    })
    const { peer } = connection
    const isAdmitted = admission.move(endpointsOf(socket), peer.kind === 'refused' ? 'refused' : 'admitted')
    options.onJudged?.(connection)
    // One refused connection too many is closed without its reason.
    if (!isAdmitted) return void socket.destroy()
    socket.setNoDelay(true)
    if (peer.kind === 'refused') tellRefusal(socket, peer, wire)
    else if (wire === 'grpc') grpcDoor.accept(socket, connection)
    else httpDoor.accept(socket, connection)
  }

  await listen(server, wanted, options)
  const replaced = options.tls?.subscribe(() => {
    if (options.tls) tlsServer?.setSecureContext(tlsOptions(options.tls.current(), options.clientAuth))
  })
  const bound = server.address()
  const address = typeof bound === 'object' && bound ? { host: wanted.host, port: bound.port } : wanted

  const close = async (graceMs = 1000): Promise<void> => {
    replaced?.[Symbol.dispose]()
    const closed = new Promise((resolve) => server.close(resolve))
    await grpcDoor.close(graceMs)
    httpDoor.close()
    admission.close()
    await closed
  }
  return {
    address,
    connections: () => [...open],
    async judgeAgain(isConcerned = () => true) {
      const cut: Connection[] = []
      const turn = takeTurns()
      for (const connection of [...open]) {
        await turn()
        if (!open.has(connection) || !isConcerned(connection) || !connection.judgeAgain()) continue
        cut.push(connection)
        options.onJudged?.(connection)
      }
      return cut
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

/**
 * Ends a connection whose TLS handshake has not begun with the only word that TLS has for it (a fatal alert,
 * internal_error). Our clients read it as a busy server. What the client has sent is read, or the alert would be lost.
 */
function turnAwayTls(socket: Socket): void {
  socket.end(Buffer.from('15030300020250', 'hex'))
  socket.resume()
  setTimeout(() => socket.destroy(), limits.turnedAwayConnectionMs).unref()
}

/** They stay in the socket, to be read by the door. `P` alone may begin a method of HTTP/1.1 or the preface of HTTP/2. */
function onFirstBytes(socket: Socket, callback: (first: Buffer) => void): void {
  let first: Buffer = Buffer.alloc(0)
  const look = (): void => {
    for (let chunk: Buffer | null = socket.read(); chunk; chunk = socket.read()) first = Buffer.concat([first, chunk])
    if (first.length === 0 || (first.length === 1 && first[0] === 0x50)) return
    socket.off('readable', look)
    socket.unshift(first)
    callback(first)
  }
  socket.on('readable', look)
}

/** HTTP/2 opens with `PRI`. */
function wireOf(first: Buffer): 'grpc' | 'http' {
  return first[0] === 0x50 && first[1] === 0x52 ? 'grpc' : 'http'
}

/** Tells apart every connection that is open: a peer may use one port for several of our addresses. */
function endpointsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
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
