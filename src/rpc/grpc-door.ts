import type { ServerHttp2Stream, ServerOptions } from 'node:http2'
import type { Duplex } from 'node:stream'
import * as grpc from '@grpc/grpc-js'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { type CallHead, type Connection, type IncomingCall, waitMsOf } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import { unlessRefused, whenRefused } from './cut-off.ts'
import type { Method } from './dispatch.ts'
import { messageTooLarge, Refusal, toWireError } from './translate-errors.ts'

/** Serves gRPC on sockets that a listener has accepted and judged. */
export interface GrpcDoor {
  accept(socket: Duplex, connection: Connection): void
  close(graceMs: number): Promise<void>
}

export function createGrpcDoor(
  methods: readonly Method[],
  log: Logger,
  { idleConnectionMs }: Pick<ConnectionBounds, 'idleConnectionMs'>,
): GrpcDoor {
  const connections = new Map<string, Connection>()
  const findConnection = (peer: string): Connection | undefined => connections.get(peer.split(':', 1)[0] as string)
  const server = new grpc.Server({
    'grpc.max_receive_message_length': limits.messageBytesMax,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.streamsPerConnectionMax,
    'grpc.keepalive_time_ms': 210_000,
    'grpc.max_connection_idle_ms': idleConnectionMs,
    'grpc-node.max_session_memory': 64,
    // Nobody asks for its figures.
    'grpc.enable_channelz': 0,
  })
  boundHttp2(server)
  for (const method of methods) register(server, method, findConnection, log)
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  return {
    accept(socket, connection) {
      // A handler learns nothing of its socket but the peer's address and port, and these do not tell connections apart: a
      // peer that reaches several of our addresses may use one port for all of them. So the socket is named after its own.
      const name = `connection-${connection.id}`
      Object.defineProperty(socket, 'remoteAddress', { value: name })
      connections.set(name, connection)
      socket.once('close', () => connections.delete(name))
      injector.injectConnection(socket)
    },
    async close(graceMs) {
      injector.drain(graceMs)
      injector.destroy()
      server.forceShutdown()
    },
  }
}

/** What @grpc/grpc-js keeps to itself, where there is no option for what we need. */
interface ServerInside {
  commonServerOptions?: ServerOptions
  _streamHandler?: (interceptors: unknown, stream: ServerHttp2Stream, headers: unknown) => void
}

/** Bounds what a peer may cost by options of Node's HTTP/2 that @grpc/grpc-js does not pass on. */
function boundHttp2(server: grpc.Server): void {
  const inside = server as unknown as ServerInside
  const { commonServerOptions: options, _streamHandler: handle } = inside
  if (!options || !handle) throw new Error('This release of @grpc/grpc-js is made in another way')
  Object.assign(options, {
    // What goes beyond these is refused before anything of ours runs; who goes on loses the connection.
    maxHeaderListPairs: limits.headersMax,
    maxSessionRejectedStreams: limits.streamResetsAtOnce,
    streamResetBurst: limits.streamResetsAtOnce,
    streamResetRate: limits.streamResetsPerSecond,
    settings: { ...options.settings, maxHeaderListSize: limits.headerBytesMax },
  } satisfies ServerOptions)
  // A stream may be reset, alone or with its connection, before it is looked at. Answering it throws where nobody catches,
  // and would end the program.
  inside._streamHandler = function (interceptors, stream, headers) {
    stream.on('error', () => {})
    if (stream.destroyed || stream.closed) return
    try {
      handle.call(this, interceptors, stream, headers)
    } catch {
      stream.destroy()
    }
  }
}

const passBytes = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const keepBytes = (bytes: Buffer): Buffer => bytes

function register(
  server: grpc.Server,
  method: Method,
  findConnection: (remoteAddress: string) => Connection | undefined,
  log: Logger,
): void {
  if (method.streams) {
    server.register(
      method.path,
      async (stream: grpc.ServerWritableStream<Buffer, Uint8Array>) => {
        const incoming = toIncoming(method, stream, findConnection)
        if (!incoming) return stream.destroy()
        const { connection, signal } = incoming.head
        const fail = (error: unknown): void => {
          stream.emit('error', statusOf(error, method, log))
          closeRefused(connection)
        }
        const stopWatching = whenRefused(connection, fail)
        try {
          refuse(connection)
          stream.sendMetadata(new grpc.Metadata())
          for await (const bytes of method.stream(incoming)) {
            if (signal.aborted || connection.cutOff.aborted) return
            if (!stream.write(bytes)) await drained(stream, signal)
          }
          stream.end()
        } catch (error) {
          if (!connection.cutOff.aborted) fail(error)
        } finally {
          connection.cutOff.removeEventListener('abort', stopWatching)
        }
      },
      passBytes,
      keepBytes,
      'serverStream',
    )
    return
  }
  server.register(
    method.path,
    (unary: grpc.ServerUnaryCall<Buffer, Uint8Array>, reply: grpc.sendUnaryData<Uint8Array>) => {
      const incoming = toIncoming(method, unary, findConnection)
      if (!incoming) return reply({ code: grpc.status.UNAVAILABLE, details: 'Connection is gone.' })
      const { connection, waitMs } = incoming.head
      if (waitMs !== undefined) unary.sendMetadata(waited)
      unlessRefused(connection, () => method.unary(incoming)).then(
        (bytes) => reply(null, bytes),
        (error: unknown) => {
          reply(statusOf(error, method, log))
          closeRefused(connection)
        },
      )
    },
    passBytes,
    keepBytes,
    'unary',
  )
}

const waited = new grpc.Metadata()
waited.set('trellis-waited', '1')

function refuse(connection: Connection): void {
  if (connection.peer.kind === 'refused') throw new Refusal(connection.peer)
}

/** The answer goes out first; then nothing more is served on this connection. */
function closeRefused(connection: Connection): void {
  if (connection.peer.kind === 'refused') setTimeout(() => connection.close(), answerOutMs).unref()
}

/** Nobody tells when an answer has left. */
const answerOutMs = 300

function statusOf(error: unknown, method: Method, log: Logger): grpc.ServiceError {
  const wire = toWireError(error, method.path, log)
  const metadata = new grpc.Metadata()
  if (wire.refusalReason) metadata.set('trellis-refusal-reason', wire.refusalReason)
  return Object.assign(new Error(wire.grpcSentence), { code: wire.grpcCode, details: wire.grpcSentence, metadata })
}

type ServerCall = grpc.ServerUnaryCall<Buffer, Uint8Array> | grpc.ServerWritableStream<Buffer, Uint8Array>

function toIncoming(
  method: Method,
  serverCall: ServerCall,
  findConnection: (remoteAddress: string) => Connection | undefined,
): IncomingCall | undefined {
  const connection = findConnection(serverCall.getPeer())
  if (!connection) return undefined
  const { metadata } = serverCall
  let controller: AbortController | undefined
  const head: CallHead = {
    method: method.path,
    connection,
    get signal() {
      if (!controller) {
        const created = new AbortController()
        controller = created
        if (serverCall.cancelled) created.abort()
        ;(serverCall as NodeJS.EventEmitter).on('cancelled', () => created.abort())
      }
      return controller.signal
    },
    waitMs: waitMsOf(metadata.get('trellis-wait-ms')[0] as string | undefined),
    header: (name) => metadata.get(name).map(String),
    binaryHeader: (name) => metadata.get(`${name}-bin`).filter((value) => typeof value !== 'string'),
  }
  return {
    head,
    async receive(bytesMax) {
      if (serverCall.request.length > bytesMax) throw messageTooLarge(bytesMax)
      return serverCall.request
    },
  }
}

function drained(stream: grpc.ServerWritableStream<Buffer, Uint8Array>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    stream.once('drain', resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
