import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What happens to a request: a refusal, no response, a body with a changed byte, or one that is cut in the middle. */
export type Fault = { readonly status: number; readonly body?: string } | 'silence' | 'wrong-byte' | 'cut'

/** Stands before an HTTP server and disturbs those requests that it is told to. */
export class FaultProxy implements AsyncDisposable {
  /** Is asked for each request; it passes unharmed if there is no fault. */
  fault: (method: string, path: string) => Fault | undefined = () => undefined
  /** Methods and paths, in their order. */
  readonly seen: string[] = []
  readonly #target: number
  readonly #server: Server

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer((incoming, outgoing) => {
      // The caller or the server has hung up, as both may at any time.
      this.#pass(incoming, outgoing).catch(() => outgoing.destroy())
    })
  }

  static async start(target: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = incoming
    this.seen.push(`${method} ${url}`)
    const body: Buffer[] = []
    for await (const chunk of incoming) body.push(chunk as Buffer)
    const fault = this.fault(method, url)
    if (fault === 'silence') return
    if (typeof fault === 'object') {
      outgoing.writeHead(fault.status).end(fault.body)
      return
    }
    const passed = request({ host: '127.0.0.1', port: this.#target, method, path: url, headers, agent: false })
    passed.end(Buffer.concat(body))
    const [response] = (await once(passed, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    const content = Buffer.concat(chunks)
    if (fault === 'wrong-byte') content[content.length >> 1] = (content[content.length >> 1] ?? 0) ^ 1
    outgoing.writeHead(response.statusCode ?? 500, response.headers)
    if (fault !== 'cut') return void outgoing.end(content)
    outgoing.write(content.subarray(0, content.length >> 1))
    outgoing.socket?.destroy()
  }
}
