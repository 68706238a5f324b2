import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Agent, createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { MixedFleet } from './mixed-fleet.ts'

/** One call that came through, in the HTTP generation's form. */
export interface Passed {
  /** `fleet/push-object` */
  readonly route: string
  readonly headers: IncomingHttpHeaders
  readonly request: Buffer
  readonly status: number
  readonly response: Buffer
}

/** What to do to a call: nothing, answer it here, lose the answer, or change bytes. */
export type Meddling =
  | undefined
  | { readonly status: number }
  | 'lose-answer'
  | { readonly request: Buffer }
  | { readonly response: (body: Buffer) => Buffer }

/** Is asked about each call, with the number of calls of its route before it. */
export type Meddle = (route: string, before: number, request: Buffer) => Meddling | Promise<Meddling>

/**
 * Stands between our programs and an HTTP SuperLink under TLS, keeps what passes and meddles with what it is told to. The
 * fleet's addresses become its own.
 */
export class HttpProxy implements AsyncDisposable {
  readonly passed: Passed[] = []
  readonly #target: string
  readonly #agent: Agent
  readonly #server: ReturnType<typeof createServer>
  readonly #meddle: Meddle
  readonly #counts = new Map<string, number>()

  private constructor(fleet: MixedFleet, meddle: Meddle) {
    const { file } = fleet.directory
    const [cert, key] = [readFileSync(file('server.pem')), readFileSync(file('server.key'))]
    this.#target = fleet.fleetAddress
    this.#meddle = meddle
    this.#agent = new Agent({ ca: readFileSync(fleet.ca.certfile), keepAlive: false })
    this.#server = createServer({ cert, key }, (incoming, outgoing) => void this.#pass(incoming, outgoing))
  }

  static async start(fleet: MixedFleet, meddle: Meddle = () => undefined): Promise<HttpProxy> {
    const proxy = new HttpProxy(fleet, meddle)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    const address = `127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`
    fleet.fleetAddress = address
    fleet.appAddress = address
    return proxy
  }

  of(route: string): Passed[] {
    return this.passed.filter((one) => one.route === route)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    this.#agent.destroy()
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const received = await readAll(incoming)
    const route = (incoming.url ?? '').replace('/v1/', '')
    const before = this.#counts.get(route) ?? 0
    this.#counts.set(route, before + 1)
    const meddling = await this.#meddle(route, before, received)
    const keep = (status: number, response: Buffer): void =>
      void this.passed.push({ route, headers: incoming.headers, request: received, status, response })
    if (typeof meddling === 'object' && 'status' in meddling) {
      keep(meddling.status, Buffer.alloc(0))
      return void outgoing.writeHead(meddling.status).end()
    }
    const body = typeof meddling === 'object' && 'request' in meddling ? meddling.request : received
    try {
      const answer = await this.#forward(incoming, body)
      const bytes = await readAll(answer)
      keep(answer.statusCode ?? 0, bytes)
      if (meddling === 'lose-answer') return void incoming.socket.destroy()
      const changed = typeof meddling === 'object' && 'response' in meddling ? meddling.response(bytes) : bytes
      const type = answer.headers['content-type']
      outgoing.writeHead(answer.statusCode ?? 500, {
        'content-length': changed.length,
        ...(type ? { 'content-type': type } : {}),
      })
      outgoing.end(changed)
    } catch {
      // The SuperLink is not there: neither are we.
      incoming.socket.destroy()
    }
  }

  #forward(incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { 'transfer-encoding': _, ...headers } = incoming.headers
      request(`https://${this.#target}${incoming.url}`, {
        agent: this.#agent,
        method: incoming.method,
        headers: { ...headers, 'content-length': body.length },
      })
        .once('response', resolve)
        .once('error', reject)
        .end(body)
    })
  }
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
