import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { errorText } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import { explainRpcError } from '../rpc-sentences.ts'

/** Files of the page, by path. */
export type PageFiles = Readonly<Record<string, { readonly type: string; readonly body: string | Uint8Array }>>

type Send = (name: string, data: unknown) => void

/** Finds the stream of server-sent events at a path. It calls `send` for each event, and ends with the signal. */
export type FindStream = (path: string) => ((send: Send, signal: AbortSignal) => Promise<void>) | undefined

/** Finds what a button of the page does. It returns a sentence for the user, and throws with one. */
export type FindAction = (path: string) => (() => Promise<string>) | undefined

export interface PageServer extends AsyncDisposable {
  /** The address of the page with the secret that opens it once. */
  readonly address: string
}

/** Open streams, of all tabs together. A tab has two. */
const streamsMax = 24
/** What a tab may leave unread before its stream is closed: the browser opens it again and gets the newest state. */
const unreadBytesMax = 16 * 1024 * 1024
const cookieName = 'trellis-dashboard'

/**
 * Serves the page of the dashboard to one browser on this machine. The address holds a secret that works once: it is
 * exchanged for a cookie that scripts cannot read. A request needs the cookie, and a Host header that names this machine, so
 * that no website can reach the page through a name of its own.
 */
export async function startPageServer(options: {
  files: PageFiles
  findStream: FindStream
  findAction: FindAction
  signal: AbortSignal
}): Promise<PageServer> {
  const secret = randomBytes(32).toString('base64url')
  const session = randomBytes(32).toString('base64url')
  let isUsed = false
  let streams = 0
  const server = createServer({ maxHeaderSize: 16 * 1024, headersTimeout: 10_000, requestTimeout: 10_000 })
  server.maxConnections = 64
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`]

  const serve = (follow: NonNullable<ReturnType<FindStream>>, response: ServerResponse): void => {
    if (streams >= streamsMax) {
      reply(response, 503, 'Too many pages of this dashboard are open: close some.')
      return
    }
    const gone = new AbortController()
    const signal = AbortSignal.any([gone.signal, options.signal])
    response.on('close', () => gone.abort())
    response.writeHead(200, { ...safeHeaders, 'content-type': 'text/event-stream' })
    response.flushHeaders()
    streams += 1
    const send: Send = (name, data) => {
      if (signal.aborted) return
      response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
      if (response.writableLength > unreadBytesMax) response.destroy()
    }
    void follow(send, signal)
      .catch(() => {})
      .finally(() => {
        streams -= 1
        response.end()
      })
  }

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    const { pathname: path, searchParams } = new URL(request.url ?? '/', `http://${hosts[0]}`)
    if (!hosts.includes(request.headers.host ?? '')) return reply(response, 421, 'This address is not the dashboard.')
    if (request.method !== 'GET' && request.method !== 'POST') return reply(response, 405, 'Use GET or POST.')
    const given = searchParams.get('key')
    if (path === '/' && given !== null) {
      if (isUsed || !isSame(given, secret)) return reply(response, 403, usedUp)
      isUsed = true
      const cookie = `${cookieName}=${session}; HttpOnly; SameSite=Strict; Path=/`
      response.writeHead(303, { ...safeHeaders, location: '/', 'set-cookie': cookie }).end()
      return
    }
    if (!isSame(cookieOf(request), session)) return reply(response, 403, usedUp)
    if (request.method === 'POST') return void act(request, response, options.findAction(path))
    const file = options.files[path]
    if (file) {
      response.writeHead(200, { ...safeHeaders, 'content-type': file.type }).end(file.body)
      return
    }
    // A page of another site cannot read a stream, but it could keep some open.
    const site = request.headers['sec-fetch-site']
    const follow = site === undefined || site === 'same-origin' ? options.findStream(path) : undefined
    if (follow) return serve(follow, response)
    reply(response, 404, 'There is no such page.')
  })

  return {
    address: `http://127.0.0.1:${port}/?key=${secret}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const usedUp =
  'This address opens the dashboard once, and in one browser. Start `flwr dashboard` again for a new address.'

/** Everything that the page loads comes from here, and no other site may show it in a frame. */
const safeHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** Only a script of the page itself can send this: other sites would have to ask for this type of content, in vain. */
async function act(request: IncomingMessage, response: ServerResponse, action: ReturnType<FindAction>): Promise<void> {
  const site = request.headers['sec-fetch-site']
  const isOwn = site === undefined || site === 'same-origin'
  if (!isOwn || request.headers['content-type'] !== 'application/json')
    return reply(response, 403, 'Only the page of the dashboard may do this.')
  if (!action) return reply(response, 404, 'There is no such action.')
  try {
    reply(response, 200, await action())
  } catch (error) {
    reply(response, 409, oneLine(errorText(explainRpcError(error))))
  }
}

function reply(response: ServerResponse, status: number, sentence: string): void {
  response.writeHead(status, { ...safeHeaders, 'content-type': 'text/plain; charset=utf-8' }).end(`${sentence}\n`)
}

/** Takes the same time for every wrong text of the right length. */
function isSame(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}

function cookieOf({ headers }: IncomingMessage): string {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim())
  return pairs.find((pair) => pair.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1) ?? ''
}
