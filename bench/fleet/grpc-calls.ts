import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, constants, type Settings } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'

/** gRPC calls of the load generator: as little work for each as possible, because it shares the machine with the SuperLink. */

export interface Peer {
  readonly host: string
  readonly port: number
  readonly rootsPem: string
  readonly certificatePem?: string
  readonly keyPem?: string
}

/** The server refused the call, did not respond in time, or the connection broke. */
export class CallLostError extends Error {
  override readonly name = 'CallLostError'
  /** How long the server asked to wait before the next try. */
  readonly retryAfterMs: number | undefined

  constructor(message: string, retryAfterMs?: number) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

export interface SessionOptions {
  readonly settings?: Settings
  readonly maxSessionMemory?: number
}

/** Opens a connection with mutual TLS that is ready for calls. */
export async function openSession(
  peer: Peer,
  timeoutMs: number,
  { settings, ...options }: SessionOptions = {},
): Promise<ClientHttp2Session> {
  const { host, port, rootsPem: ca, certificatePem: cert, keyPem: key } = peer
  const clientPair = cert && key ? { cert, key } : {}
  const socket = connectTls({ host, port, ca, ...clientPair, ALPNProtocols: ['h2'], servername: 'localhost' })
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    await once(socket, 'secureConnect', { signal })
    socket.setNoDelay(true)
    const session = connectHttp2('http://fleet', {
      createConnection: () => socket,
      settings: { enablePush: false, ...settings },
      ...options,
    })
    await once(session, 'remoteSettings', { signal })
    session.on('error', () => {})
    return session
  } catch (error) {
    socket.on('error', () => {})
    socket.destroy()
    throw new CallLostError(`no connection: ${(error as Error).message}`)
  }
}

const framePrefixBytes = 5

export function call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
  session: ClientHttp2Session,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { timeoutMs: number; waitMs?: number; headers?: Readonly<Record<string, string>> | undefined },
): Promise<MessageShape<O>> {
  const body = toBinary(method.input, create(method.input, request))
  const frame = Buffer.allocUnsafe(framePrefixBytes + body.length)
  frame[0] = 0
  frame.writeUInt32BE(body.length, 1)
  frame.set(body, framePrefixBytes)
  const { promise, resolve, reject } = Promise.withResolvers<MessageShape<O>>()
  if (session.destroyed || session.closed) {
    reject(new CallLostError('the connection is closed'))
    return promise
  }
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: `/${method.parent.typeName}/${method.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': `${options.timeoutMs}m`,
    ...options.headers,
    ...(options.waitMs === undefined ? {} : { 'trellis-wait-ms': String(options.waitMs) }),
  })
  const chunks: Buffer[] = []
  let said: Readonly<Record<string, unknown>> = {}
  const timer = setTimeout(() => {
    reject(new CallLostError('no response in time'))
    stream.close(constants.NGHTTP2_CANCEL)
  }, options.timeoutMs)
  stream.on('response', (headers) => {
    said = headers
  })
  stream.on('trailers', (trailers) => {
    said = trailers
  })
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('error', () => {})
  stream.on('close', () => {
    clearTimeout(timer)
    if (said['grpc-status'] === '0') {
      const received = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
      return resolve(fromBinary(method.output, received.subarray(framePrefixBytes)) as MessageShape<O>)
    }
    const pushback = Number(said['grpc-retry-pushback-ms'])
    const what =
      said['grpc-status'] === undefined ? 'the connection broke' : decodeURIComponent(`${said['grpc-message']}`)
    reject(new CallLostError(what, Number.isFinite(pushback) ? pushback : undefined))
  })
  stream.end(frame)
  return promise
}
