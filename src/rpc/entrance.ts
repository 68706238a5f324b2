import type { Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions, type Server as TlsServer } from 'node:tls'
import { limits } from '../base/limits.ts'
import { LogThrottle } from '../base/log-throttle.ts'
import { withoutLegacyCertificate } from '../base/tls-connect.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { Admission } from './admission.ts'
import type { Connection } from './call.ts'
import { type ConnectionBounds, usualBounds } from './connection-bounds.ts'
import { ConnectionShares } from './connection-shares.ts'
import { isTlsHandshake, onFirstBytes, type Wire, wireOf } from './first-bytes.ts'
import { handshakeFailure, tlsOnPlainPort } from './handshake-failure.ts'
import { JudgedConnection } from './judged-connection.ts'
import type { ListenerOptions } from './listener.ts'
import { peerChain } from './peer-chain.ts'
import { tellRefusal } from './refusal-door.ts'
import { tlsOptions } from './server-tls.ts'

type EntranceOptions = Pick<
  ListenerOptions,
  'name' | 'log' | 'tls' | 'clientAuth' | 'site' | 'judge' | 'learn' | 'staple' | 'onJudged' | 'onHandshake' | 'bounds'
>

/** Serves the connections of peers that were let in. */
export type Serve = (wire: Wire, socket: Socket, connection: Connection) => void

/**
 * Leads each connection of a listener from its arrival to a door, in the order of the methods below: it waits for its turn,
 * completes its TLS handshake or shows its first bytes, its certificate is looked up, its peer is judged, and it is served
 * or refused. {@link Admission} holds its state and the bounds of each state.
 */
export class Entrance {
  /** Connections whose peers were judged, until they close. */
  readonly open = new Set<JudgedConnection>()
  readonly #options: EntranceOptions
  readonly #serve: Serve
  readonly #admission: Admission
  readonly #tlsServer: TlsServer | undefined
  readonly #shares: ConnectionShares
  readonly #throttle = new LogThrottle()

  constructor(options: EntranceOptions, serve: Serve) {
    const bounds: ConnectionBounds = { ...usualBounds, ...options.bounds }
    this.#options = options
    this.#serve = serve
    this.#shares = new ConnectionShares(bounds)
    this.#tlsServer = this.#createTlsServer()
    this.#admission = new Admission({
      ...{ atOnce: limits.handshakesAtOnce, turnMs: limits.handshakeTurnMs },
      start: (socket) => this.#startTurn(socket),
      turnAway: (socket) => this.#turnAway(socket),
      onCrowd: (socket, isTurnedAway) => this.#warnOfCrowd(socket, isTurnedAway),
    })
  }

  /** Takes a connection that has arrived. Nothing is read of it before its turn. */
  arrive(socket: Socket): void {
    // The doors own the socket later; until then a reset must not become an uncaught error.
    socket.on('error', () => socket.destroy())
    // A connection that was reset before it was accepted has no endpoints to tell it from others.
    if (socket.remotePort === undefined) socket.destroy()
    else this.#admission.arrive(endpointsOf(socket), socket)
  }

  /** Uses new TLS material for handshakes from now on. */
  replaceTls(): void {
    const { tls } = this.#options
    if (tls) this.#tlsServer?.setSecureContext(this.#tlsOptions(tls))
  }

  close(): void {
    this.#admission.close()
  }

  #createTlsServer(): TlsServer | undefined {
    const { tls, staple } = this.#options
    if (!tls) return undefined
    const server = createTlsServer(this.#tlsOptions(tls))
    server.on('secureConnection', (socket: TLSSocket) => this.#endHandshake(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => this.#failHandshake(error, socket))
    if (staple)
      server.on(
        'OCSPRequest',
        (_leaf: Buffer, _issuer: Buffer, callback: (error: null, der: Buffer | null) => void) => {
          const der = staple()
          callback(null, der ? Buffer.from(der) : null)
        },
      )
    return server
  }

  #tlsOptions(tls: TlsSource): TlsOptions {
    const { clientAuth, site } = this.#options
    return tlsOptions(tls.current(), { clientAuth, hasSite: site !== undefined })
  }

  #startTurn(socket: Socket): void {
    if (this.#tlsServer) this.#tlsServer.emit('connection', socket)
    else this.#readInClear(socket)
  }

  #readInClear(socket: Socket): void {
    this.#admission.endTurn(endpointsOf(socket))
    onFirstBytes(socket, (first) => {
      if (!isTlsHandshake(first)) return this.#judge(socket, wireOf(first), false, [])
      // The client learns from a response in clear text that this port has no TLS; the mere end could be a bad network.
      this.#warn('tls', tlsOnPlainPort, socket)
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    })
  }

  #endHandshake(socket: TLSSocket): void {
    const { onHandshake, clientAuth } = this.#options
    onHandshake?.('success')
    withoutLegacyCertificate(socket)
    this.#admission.endTurn(endpointsOf(socket))
    socket.on('error', () => socket.destroy())
    const chain = clientAuth && clientAuth !== 'none' ? peerChain(socket) : []
    if (socket.alpnProtocol) this.#learn(socket, socket.alpnProtocol === 'h2' ? 'grpc' : 'http', chain)
    // A tunnel does not say which protocol its client speaks.
    else onFirstBytes(socket, (first) => this.#learn(socket, wireOf(first), chain))
  }

  #failHandshake(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const { onHandshake, log, name } = this.#options
    onHandshake?.('failure')
    const sentence = handshakeFailure(error)
    if (sentence) this.#warn(error.code ?? sentence, sentence, socket)
    else log.debug('A client hung up during the TLS handshake', { listener: name, peer: socket.remoteAddress })
    socket.destroy()
  }

  /** Connections that wait for an OCSP response do not count towards the limit on unjudged connections. */
  #learn(socket: Socket, wire: Wire, chain: readonly Uint8Array[]): void {
    const isRoom = this.#admission.count('learning') < limits.connectionsLearningMax
    const learnt = isRoom ? this.#options.learn?.(chain) : undefined
    if (!learnt) this.#judge(socket, wire, true, chain)
    else if (this.#admission.move(endpointsOf(socket), 'learning'))
      learnt.then(() => this.#judge(socket, wire, true, chain))
  }

  #judge(socket: Socket, wire: Wire, secure: boolean, chain: readonly Uint8Array[]): void {
    if (socket.destroyed || socket.remotePort === undefined) return
    const judge = this.#options.judge && this.#shares.limit(this.#options.judge, socket.remoteAddress ?? '')
    const connection = new JudgedConnection(socket, secure, chain, judge)
    this.#keep(socket, connection)
    const state = connection.peer.kind === 'refused' ? 'refused' : 'admitted'
    const isRoom = this.#admission.move(endpointsOf(socket), state)
    this.#options.onJudged?.(connection)
    // Beyond the limit, refused connections are closed without a reason.
    if (isRoom) this.#open(socket, wire, connection)
    else socket.destroy()
  }

  /** Counts a connection towards the share of its peer until it closes. */
  #keep(socket: Socket, connection: JudgedConnection): void {
    this.open.add(connection)
    const leave = this.#options.judge ? this.#shares.enter(connection) : () => {}
    socket.once('close', () => {
      this.open.delete(connection)
      leave()
    })
  }

  #open(socket: Socket, wire: Wire, connection: JudgedConnection): void {
    socket.setNoDelay(true)
    if (connection.peer.kind === 'refused') tellRefusal(socket, connection.peer, wire)
    else this.#serve(wire, socket, connection)
  }

  /**
   * Ends a connection whose TLS handshake has not begun with the only word that TLS has for it (a fatal alert,
   * internal_error). Our clients read it as a busy server. What the client has sent is read, or the alert would be lost.
   */
  #turnAway(socket: Socket): void {
    if (!this.#tlsServer) return void socket.destroy()
    socket.end(Buffer.from('15030300020250', 'hex'))
    socket.resume()
    setTimeout(() => socket.destroy(), limits.turnedAwayConnectionMs).unref()
  }

  #warnOfCrowd(socket: Socket, isTurnedAway: boolean): void {
    const { connectionsWaitingMax, connectionsUnjudgedMax } = limits
    if (isTurnedAway)
      this.#warn('crowd', `${connectionsWaitingMax} connections wait for a handshake: more are closed.`, socket)
    else this.#warn('line', `${connectionsUnjudgedMax} connections are in their handshake: more wait.`, socket)
  }

  /** Logs one line a minute for each cause and peer: any program that can connect could fill the log. */
  #warn(cause: string, sentence: string, { remoteAddress }: Socket): void {
    const { log, name } = this.#options
    const fields = this.#throttle.admit(`${cause} ${remoteAddress}`)
    if (fields) log.warn(`${name}: ${sentence}`, { peer: remoteAddress, ...fields })
  }
}

/** Identifies an open connection by both of its ends: a peer may use one port for several of our addresses. */
function endpointsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
