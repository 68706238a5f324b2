import { type AgentOptions, type ClientRequestArgs, Agent as HttpAgent, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { rootCertificates } from 'node:tls'
import { connectTls } from './tls-connect.ts'

/** What is asked of a server of the site's own infrastructure, and how much of its time and words we stand. */
export interface FetchRequest {
  readonly url: string
  /** Sent by POST, with its content type; absent: GET. */
  readonly body?: { readonly type: string; readonly bytes: Uint8Array }
  readonly headers?: Readonly<Record<string, string>>
  readonly bytesMax: number
  /** The status is enough: a body that is too long, too slow or cut off is no failure. */
  readonly ignoresBody?: boolean
  /** For everything, from connecting to the last byte. */
  readonly deadlineMs: number
  /** Trusted beside the public CAs; PEM. */
  readonly ca?: readonly string[]
  /** Ends the request before its deadline. */
  readonly signal?: AbortSignal
}

export interface FetchedBody {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly bytes: Buffer
}

/** Whether a setting names a server rather than a file. */
export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text)
}

/** Rejects with an Error that says what happened, in words that follow the address. Redirections are not followed. */
export function fetchBounded(options: FetchRequest): Promise<FetchedBody> {
  const { url, body, bytesMax, deadlineMs, ignoresBody = false } = options
  return new Promise((resolve, reject) => {
    const deadline = AbortSignal.timeout(deadlineMs)
    const secure = url.toLowerCase().startsWith('https:')
    const request = (secure ? requestHttps : requestHttp)(url, {
      method: body ? 'POST' : 'GET',
      headers: {
        ...options.headers,
        ...(body ? { 'content-type': body.type, 'content-length': body.bytes.length } : {}),
      },
      signal: options.signal ? AbortSignal.any([deadline, options.signal]) : deadline,
      // A connection that was left open may be one that has died: each request gets its own.
      ...(secure ? { createConnection: (to: ClientRequestArgs) => openTls(to, options) } : { agent: false }),
    })
    let end: (() => void) | undefined
    const fail = (error: Error): void => (ignoresBody && end ? end() : reject(error))
    const onError = (error: NodeJS.ErrnoException): void =>
      fail(deadline.aborted ? new Error(`did not answer in ${deadlineMs / 1000} s`) : explain(error))
    request.once('error', onError)
    request.once('response', (response) => {
      const chunks: Buffer[] = []
      let size = 0
      const { statusCode: status = 0, headers } = response
      end = () => resolve({ status, headers, bytes: Buffer.concat(chunks) })
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size <= bytesMax) return void chunks.push(chunk)
        request.destroy()
        fail(new Error(`answers with more than ${bytesMax} bytes`))
      })
      response.once('error', onError)
      response.once('end', end)
    })
    request.end(body?.bytes)
  })
}

/** Returns an agent for code that sends requests by itself; its connections are made and checked as those of this file. */
export function openAgent(protocol: string, ca?: readonly string[], options: AgentOptions = {}): HttpAgent {
  if (protocol === 'http:') return new HttpAgent(options)
  return Object.assign(new HttpsAgent(options), {
    createConnection: (to: ClientRequestArgs) => openTls(to, ca ? { ca } : {}),
  })
}

/** Connects to an HTTPS server. Without an agent Node does not name the server in the handshake, so this does. */
function openTls({ host, port }: Pick<ClientRequestArgs, 'host' | 'port'>, { ca }: Pick<FetchRequest, 'ca'>): Duplex {
  const name = String(host)
  return connectTls({
    ...{ host: name, port: Number(port), ALPNProtocols: ['http/1.1'] },
    ...(isIP(name) ? {} : { servername: name }),
    ...(ca ? { ca: [...rootCertificates, ...ca] } : {}),
  })
}

function explain(error: NodeJS.ErrnoException): Error {
  const { code = '', message } = error
  const said =
    code === 'ECONNREFUSED'
      ? 'refuses connections'
      : code === 'ENOTFOUND' || code === 'EAI_AGAIN'
        ? 'has a host name that cannot be resolved'
        : `cannot be reached (${code || message})`
  return new Error(said, { cause: error })
}
