import { constants } from 'node:crypto'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import {
  createServer as createTlsServer,
  type DetailedPeerCertificate,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import { errorText, UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import type { TlsMaterial, TlsSource } from '../identity/tls-source.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'
import type { Connection, Service } from './call.ts'
import { type Method, methodsOf } from './dispatch.ts'
import { createGrpcDoor } from './grpc-door.ts'
import { createHttpDoor, type Page } from './http-door.ts'

/**
 * Owns a socket: TLS, the judgement of each peer (once a connection, before anything is dispatched), and the bounds on
 * those who have not been judged. Behind it stand both doors; ALPN or, in clear, the first bytes pick one.
 */
export interface Listener {
  readonly address: Address
  connections(): readonly Connection[]
  /** Judges every open connection again and closes those that are refused now. Answers how many were closed. */
  judgeAgain(): number
  close(graceMs?: number): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export type ClientAuth = 'none' | 'request' | 'require'

export interface ListenerOptions {
  /** For messages, e.g. `Fleet API`. */
  readonly name: string
  readonly address: string
  readonly services: readonly Service[]
  /** Methods without a service description of ours. */
  readonly rawMethods?: readonly Method[]
  readonly pages?: readonly Page[]
  readonly log: Logger
  readonly tls?: TlsSource
  readonly clientAuth?: ClientAuth
  /** Decides about a peer from its certificates, leaf first, DER; none means that it presented none. */
  readonly judge?: (chain: readonly Uint8Array[]) => PeerIdentity
  /** Told once about every judged connection, for the audit log and metrics. */
  readonly onJudged?: (connection: Connection) => void
}

const anonymous: PeerIdentity = { kind: 'anonymous' }
let lastConnectionId = 0

export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { log, judge } = options
  const wanted = parseAddress(options.address, options.name)
  const open = new Map<string, JudgedConnection>()
  const sockets = new Map<string, Socket>()
  let unjudged = 0
  const methods = [...methodsOf(options.services), ...(options.rawMethods ?? [])]
  const grpcDoor = createGrpcDoor(methods, (remoteAddress) => open.get(remoteAddress), log)
  const httpDoor = createHttpDoor(
    methods,
    options.pages ?? [],
    (socket) => open.get(`${socket.remoteAddress}:${socket.remotePort}`),
    log,
  )

  const tlsServer = options.tls && createTlsServer(tlsOptions(options.tls.current(), options.clientAuth))
  const server: Server = tlsServer ?? createTcpServer()
  server.on('connection', (socket: Socket) => {
    // grpc-js and Node's parser own the socket later; until then a reset must not become an uncaught error.
    socket.on('error', () => socket.destroy())
    if (++unjudged > limits.connectionsUnjudgedMax) {
      unjudged -= 1
      return socket.destroy()
    }
    const timer = setTimeout(() => socket.destroy(), limits.unjudgedConnectionMs)
    const settle = (): void => {
      clearTimeout(timer)
      unjudged -= 1
      socket.off('close', settle)
      socket.off('trellis-judged', settle)
    }
    socket.once('close', settle)
    socket.once('trellis-judged', settle)
    const key = `${socket.remoteAddress}:${socket.remotePort}`
    sockets.set(key, socket)
    socket.once('close', () => sockets.delete(key))
    if (!options.tls) pickPlainDoor(socket)
  })
  if (options.tls) {
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => socket.destroy())
      const chain = options.clientAuth && options.clientAuth !== 'none' ? peerChain(socket) : []
      admit(socket, socket.alpnProtocol === 'h2' ? 'grpc' : 'http', true, chain)
    })
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      log.debug('TLS handshake failed', { listener: options.name, peer: socket.remoteAddress, error: errorText(error) })
      socket.destroy()
    })
  }

  function pickPlainDoor(socket: Socket): void {
    socket.once('readable', () => {
      const first: Buffer | null = socket.read()
      if (!first) return
      socket.unshift(first)
      // 0x16 opens a TLS handshake: nothing we could answer would be understood.
      if (first[0] === 0x16) return socket.destroy()
      admit(socket, first[0] === 0x50 && first[1] === 0x52 ? 'grpc' : 'http', false, [])
    })
  }

  function admit(socket: Socket, door: 'grpc' | 'http', secure: boolean, chain: readonly Uint8Array[]): void {
    if (socket.destroyed || socket.remotePort === undefined) return
    const key = `${socket.remoteAddress}:${socket.remotePort}`
    const connection = new JudgedConnection(socket, key, secure, chain, judge)
    open.set(key, connection)
    socket.once('close', () => open.delete(key))
    // Under TLS `socket` is a wrapper: the bounds were set on the TCP socket below it.
    sockets.get(key)?.emit('trellis-judged')
    options.onJudged?.(connection)
    if (connection.peer.kind === 'refused') {
      setTimeout(() => connection.close(), limits.refusedConnectionMs).unref()
    }
    socket.setNoDelay(true)
    if (door === 'grpc') grpcDoor.accept(socket)
    else httpDoor.accept(socket)
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
    for (const socket of sockets.values()) socket.destroy()
    await closed
  }
  return {
    address,
    connections: () => [...open.values()],
    judgeAgain() {
      let closed = 0
      for (const connection of open.values()) {
        if (!connection.judgeAgain()) continue
        closed += 1
        options.onJudged?.(connection)
        connection.close()
      }
      return closed
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

class JudgedConnection implements Connection {
  readonly id = ++lastConnectionId
  readonly remoteAddress: string
  readonly secure: boolean
  readonly closed: AbortSignal
  readonly #socket: Socket
  readonly #chain: readonly Uint8Array[]
  readonly #judge: ListenerOptions['judge']
  #peer: PeerIdentity

  constructor(
    socket: Socket,
    key: string,
    secure: boolean,
    chain: readonly Uint8Array[],
    judge: ListenerOptions['judge'],
  ) {
    const controller = new AbortController()
    socket.once('close', () => controller.abort())
    this.closed = controller.signal
    this.remoteAddress = key
    this.secure = secure
    this.#socket = socket
    this.#chain = chain
    this.#judge = judge
    this.#peer = judge ? judge(chain) : anonymous
  }

  get peer(): PeerIdentity {
    return this.#peer
  }

  /** Answers whether the peer was let in before and is refused now. */
  judgeAgain(): boolean {
    if (!this.#judge || this.#peer.kind === 'refused') return false
    this.#peer = this.#judge(this.#chain)
    return this.#peer.kind === 'refused'
  }

  close(): void {
    this.#socket.destroySoon()
    setTimeout(() => this.#socket.destroy(), 500).unref()
  }
}

/** AEAD suites with forward secrecy only; TLS 1.3 has no others. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

function tlsOptions(material: TlsMaterial, clientAuth: ClientAuth = 'none'): TlsOptions {
  if (!material.certificate) throw new Error('A TLS listener needs a certificate')
  const asks = clientAuth !== 'none'
  return {
    cert: material.certificate.chainPem,
    key: material.certificate.keyPem,
    minVersion: 'TLSv1.2',
    ciphers,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: limits.unjudgedConnectionMs,
    requestCert: asks,
    // Our own judge decides, after the handshake, so that a refused peer can be told why.
    rejectUnauthorized: false,
    // A resumed session would carry an authorisation that was never judged.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (asks ? constants.SSL_OP_NO_TICKET : 0),
    ...(asks ? { sessionTimeout: 1 } : {}),
  }
}

/** What the peer sent, leaf first. Node links the certificates by issuer; a self-signed one links to itself. */
function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let certificate = socket.getPeerCertificate(true) as Partial<DetailedPeerCertificate> | undefined
  while (certificate?.raw && chain.length < 10) {
    const { raw } = certificate
    if (chain.some((earlier) => raw.equals(earlier))) break
    chain.push(raw)
    certificate = certificate.issuerCertificate
  }
  return chain
}

function listen(server: Server, address: Address, options: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = formatAddress(address)
      if (error.code === 'EADDRINUSE')
        return reject(new UsageError(`Port in server address ${where} is already in use.`))
      reject(new UsageError(`Cannot listen on ${where} for the ${options.name}: ${error.message}.`, { cause: error }))
    })
    server.listen({ host: address.host, port: address.port }, resolve)
  })
}
