import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream, type ServerOptions } from 'node:http2'
import type { Duplex } from 'node:stream'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { BodyBudget } from './body-budget.ts'
import type { Connection } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { Method } from './dispatch.ts'
import { within } from './drain.ts'
import { type GrpcCallOptions, serveGrpcCall } from './grpc-call.ts'

/**
 * Serves gRPC over HTTP/2 on sockets that a listener has accepted and judged. Bounds what a peer may cost: streams, headers,
 * calls that it takes back, memory, silence. One stream is one call, see `grpc-call.ts`.
 */
export interface GrpcDoor {
  accept(socket: Duplex, connection: Connection): void
  /** Takes no more calls; those that are open have `graceMs` to end. */
  /** Closes each connection after its last call; returns whether all were closed in this time. */
  drain(graceMs: number): Promise<boolean>
  close(graceMs: number): Promise<void>
}

export interface GrpcDoorOptions {
  readonly methods: readonly Method[]
  readonly log: Logger
  readonly budget: BodyBudget
  readonly bounds: ConnectionBounds
}

const sessionOptions: ServerOptions = {
  maxSessionMemory: 64,
  // Requests beyond these are refused before any code of ours runs; a peer that goes on loses its connection.
  maxHeaderListPairs: limits.headersMax,
  maxSessionRejectedStreams: limits.streamResetsAtOnce,
  streamResetBurst: limits.streamResetsAtOnce,
  streamResetRate: limits.streamResetsPerSecond,
  settings: {
    maxConcurrentStreams: limits.streamsPerConnectionMax,
    maxHeaderListSize: limits.headerBytesMax,
    initialWindowSize: limits.streamWindowBytes,
  },
}

export function createGrpcDoor({ methods, log, budget, bounds }: GrpcDoorOptions): GrpcDoor {
  const sessions = new Set<ServerHttp2Session>()
  const calls: GrpcCallOptions = {
    ...{ budget, log, pace: bounds },
    methods: new Map(methods.map((method) => [method.path, method])),
  }
  return {
    accept(socket, connection) {
      const session = performServerHandshake(socket, sessionOptions)
      sessions.add(session)
      session.on('error', () => {})
      // A body that waits for room must not hold up the calls beside it.
      session.setLocalWindowSize(limits.connectionWindowBytes)
      endWhenIdle(session, bounds.idleConnectionMs)
      const stopPinging = keepAlive(session)
      // Its calls end with the reason; the connection ends with the last of them.
      const onCutOff = (): void => session.close()
      connection.cutOff.addEventListener('abort', onCutOff, { once: true })
      session.on('stream', (stream: ServerHttp2Stream, headers, _flags, rawHeaders) => {
        serveGrpcCall(stream, headers, rawHeaders, connection, calls).catch((error: unknown) => {
          log.error('gRPC call failed', { path: headers[':path'], error })
          stream.destroy()
        })
        if (connection.peer.kind === 'refused') session.close()
      })
      session.once('close', () => {
        sessions.delete(session)
        stopPinging()
        connection.cutOff.removeEventListener('abort', onCutOff)
      })
    },
    drain: (graceMs) => within(graceMs, Promise.all([...sessions].map(ended))),
    async close(graceMs) {
      const timer = setTimeout(() => {
        for (const session of sessions) session.destroy()
      }, graceMs)
      await Promise.all([...sessions].map(ended))
      clearTimeout(timer)
    },
  }
}

/** Closes a session. Node calls no callback for one that is closing already, so this waits for the event. */
function ended(session: ServerHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    session.once('close', resolve)
    session.close()
  })
}

/** Closes a session that has had no call for so long. */
function endWhenIdle(session: ServerHttp2Session, idleMs: number): void {
  let streams = 0
  let timer = setTimeout(() => session.close(), idleMs)
  session.on('stream', (stream: ServerHttp2Stream) => {
    streams += 1
    clearTimeout(timer)
    stream.once('close', () => {
      streams -= 1
      if (streams === 0 && !session.closed) timer = setTimeout(() => session.close(), idleMs)
    })
  })
  session.once('close', () => clearTimeout(timer))
}

/** Ends a session whose peer is gone without a word, e.g. behind a firewall that forgot it. */
function keepAlive(session: ServerHttp2Session): () => void {
  let answer: NodeJS.Timeout | undefined
  const timer = setInterval(() => {
    answer = setTimeout(() => session.destroy(), limits.pingAnswerMs)
    if (!session.ping(() => clearTimeout(answer))) clearTimeout(answer)
  }, limits.pingEveryMs)
  timer.unref()
  return () => {
    clearInterval(timer)
    clearTimeout(answer)
  }
}
