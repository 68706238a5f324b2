import { request as httpRequest, type IncomingMessage, Agent as PlainAgent } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { Agent, request as httpsRequest } from 'node:https'
import type { DescMethod } from '@bufbuild/protobuf'
import { routeOf } from '../../src/rpc/route.ts'

export interface RawCall {
  readonly address: string
  /** Of the server's certificate; `undefined` for a port without TLS. */
  readonly ca: string | undefined
  /** The certificate of the caller; without it the caller has none. */
  readonly certificate?: { readonly cert: string; readonly key: string } | undefined
  readonly method: DescMethod
  readonly body: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  /** Over gRPC: after so long without a response, the connection is closed. */
  readonly timeoutMs?: number
}

/** Calls a method with any bytes over one of the doors; returns the status, or `closed` if the connection ended first. */
export function callRaw(door: 'grpc' | 'http', call: RawCall): Promise<string> {
  return door === 'http' ? callOverHttp(call) : callOverGrpc(call)
}

const agent = new Agent({ keepAlive: true })
const plainAgent = new PlainAgent({ keepAlive: true })

export interface HttpOutcome {
  readonly status: number
  /** The stable code of a refusal. */
  readonly refusal: string | undefined
  readonly body: Buffer
}

async function callOverHttp(call: RawCall): Promise<string> {
  const outcome = await post(call)
  return outcome === 'closed' ? outcome : `http ${outcome.status}`
}

/** Calls a method over HTTP; returns `closed` if the connection ended first. */
export function post({ address, ca, certificate, method, body, headers }: RawCall): Promise<HttpOutcome | 'closed'> {
  return new Promise((resolve) => {
    const url = `http${ca ? 's' : ''}://${address}/v1/${routeOf(method)}`
    const options = {
      method: 'POST',
      headers: { 'content-type': 'application/protobuf', 'content-length': body.length, ...headers },
    }
    const begin = (onResponse: (response: IncomingMessage) => void) =>
      ca
        ? httpsRequest(url, { ...options, agent, ca, ...certificate }, onResponse)
        : httpRequest(url, { ...options, agent: plainAgent }, onResponse)
    const request = begin((response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      const end = (): void => {
        const refusal = response.headers['trellis-refusal-reason']
        resolve({ status: response.statusCode ?? 0, refusal: refusal?.toString(), body: Buffer.concat(chunks) })
        // The rest of a body that was refused is not sent.
        if (!request.writableFinished) request.destroy()
      }
      response.once('end', end).once('close', end)
    })
    request.on('error', () => resolve('closed'))
    request.end(body)
  })
}

const sessions = new Map<string, ClientHttp2Session>()

/** One connection for each caller of an address, for as long as the server keeps it. */
function sessionTo(address: string, ca: string | undefined, certificate: RawCall['certificate']): ClientHttp2Session {
  const key = `${address} ${certificate?.cert}`
  const known = sessions.get(key)
  if (known && !known.closed && !known.destroyed) return known
  // A window that lets the server send everything at once.
  const settings = { initialWindowSize: 2 ** 31 - 1 }
  const session = connectHttp2(`http${ca ? 's' : ''}://${address}`, { ...(ca ? { ca, ...certificate } : {}), settings })
  // A server that was killed may have ended it before this is called.
  session.on('connect', () => {
    if (!session.destroyed) session.setLocalWindowSize(2 ** 31 - 1)
  })
  session.on('error', () => {})
  session.unref()
  sessions.set(key, session)
  return session
}

function callOverGrpc({ address, ca, certificate, method, body, headers, timeoutMs }: RawCall): Promise<string> {
  return new Promise((resolve) => {
    const session = sessionTo(address, ca, certificate)
    const stream = session.request({
      ...{ ':method': 'POST', ':path': `/${method.parent.typeName}/${method.name}` },
      ...{ 'content-type': 'application/grpc', te: 'trailers', ...headers },
    })
    let status: string | undefined
    const read = (head: object): void => {
      status ??= (head as Record<string, string>)['grpc-status']
    }
    stream.on('response', read).on('trailers', read)
    if (timeoutMs !== undefined) stream.setTimeout(timeoutMs, () => session.destroy())
    stream.on('error', () => {})
    stream.on('close', () => resolve(status === undefined ? 'closed' : `grpc ${status}`))
    stream.resume()
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(body.length, 1)
    stream.write(prefix)
    stream.end(body)
  })
}
