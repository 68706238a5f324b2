import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { errorText } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import { type Follow, isOwnSite, OpenStreams, sendText } from '../../dashboard/open-streams.ts'
import type { PageFiles } from '../../dashboard/page-files.ts'
import { safeHeaders } from '../../dashboard/safe-headers.ts'
import { cookieOf, isSame } from '../../dashboard/secret-text.ts'
import { explainRpcError } from '../rpc-sentences.ts'

/** Finds the stream of server-sent events at a path. */
export type FindStream = (path: string) => Follow | undefined

/** Finds what a button of the page does. It returns a sentence for the user, and throws with one. */
export type FindAction = (path: string) => (() => Promise<string>) | undefined

export interface PageServer extends AsyncDisposable {
  /** The address of the page with the secret that opens it once. */
  readonly address: string
}

/** Open streams, of all tabs together. A tab has two. */
const streamsMax = 24
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
  const streams = new OpenStreams(streamsMax)
  const server = createServer({ maxHeaderSize: 16 * 1024, headersTimeout: 10_000, requestTimeout: 10_000 })
  server.maxConnections = 64
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`]

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    const { pathname: path, searchParams } = new URL(request.url ?? '/', `http://${hosts[0]}`)
    if (!hosts.includes(request.headers.host ?? ''))
      return sendText(response, 421, 'This address is not the dashboard.')
    if (request.method !== 'GET' && request.method !== 'POST') return sendText(response, 405, 'Use GET or POST.')
    const given = searchParams.get('key')
    if (path === '/' && given !== null) {
      if (isUsed || !isSame(given, secret)) return sendText(response, 403, usedUp)
      isUsed = true
      const cookie = `${cookieName}=${session}; HttpOnly; SameSite=Strict; Path=/`
      response.writeHead(303, { ...safeHeaders, location: '/', 'set-cookie': cookie }).end()
      return
    }
    if (!isSame(cookieOf(request, cookieName), session)) return sendText(response, 403, usedUp)
    if (request.method === 'POST') return void act(request, response, options.findAction(path))
    const file = options.files[path]
    if (file) {
      response.writeHead(200, { ...safeHeaders, 'content-type': file.type }).end(file.body)
      return
    }
    const follow = isOwnSite(request) ? options.findStream(path) : undefined
    if (!follow) return sendText(response, 404, 'There is no such page.')
    streams.serve(follow, response, options.signal)
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

/** Only a script of the page itself can send this: other sites would have to ask for this type of content, in vain. */
async function act(request: IncomingMessage, response: ServerResponse, action: ReturnType<FindAction>): Promise<void> {
  if (!isOwnSite(request) || request.headers['content-type'] !== 'application/json')
    return sendText(response, 403, 'Only the page of the dashboard may do this.')
  if (!action) return sendText(response, 404, 'There is no such action.')
  try {
    sendText(response, 200, await action())
  } catch (error) {
    sendText(response, 409, oneLine(errorText(explainRpcError(error))))
  }
}
