import { createConnection, createServer, type Socket } from 'node:net'
import { freePort } from './free-port.ts'

/** What a client sends, or what it gets back. */
type Direction = 'request' | 'response'

/** Something to do before a request that has a text is passed on, or its response. */
interface Plan {
  readonly direction: Direction
  readonly text: string
  readonly act: (client: Socket) => void
  /** The client that has sent the request. */
  client?: Socket
}

/** Passes on what goes to a port of this machine, until the network is cut. */
export class Relay implements Disposable {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  /** Nothing goes through these any more, and neither end is told. */
  readonly #silent = new WeakSet<Socket>()
  readonly #server
  #isListening = false
  #plan: Plan | undefined

  private constructor(port: number, target: number) {
    this.port = port
    this.#server = createServer((client) => {
      const upstream = createConnection(target, '127.0.0.1')
      this.#pass(client, upstream, (bytes) => this.#look(client, 'request', bytes))
      this.#pass(upstream, client, (bytes) => this.#look(client, 'response', bytes))
    })
  }

  static async start(target: number): Promise<Relay> {
    const relay = new Relay(await freePort(), target)
    await relay.mend()
    return relay
  }

  cut(): void {
    if (this.#isListening) this.#server.close()
    this.#isListening = false
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Loses from now on what comes over the connections that there are. New ones work. */
  silence(): void {
    for (const socket of this.#sockets) this.#silent.add(socket)
  }

  /** Acts once before a request that has the text is passed on, or before its response is; resolves then. */
  before(direction: Direction, text: string, act: Plan['act']): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const actAndResolve = (client: Socket): void => {
      act(client)
      resolve()
    }
    this.#plan = { direction, text, act: actAndResolve }
    return promise
  }

  #look(client: Socket, direction: Direction, bytes: Buffer): void {
    const plan = this.#plan
    if (!plan) return
    if (direction === 'request' && bytes.includes(plan.text)) plan.client = client
    if (plan.client !== client || plan.direction !== direction) return
    this.#plan = undefined
    plan.act(client)
  }

  #pass(from: Socket, to: Socket, look: (bytes: Buffer) => void): void {
    this.#sockets.add(from)
    from
      .on('data', (bytes: Buffer) => {
        if (!this.#silent.has(from)) look(bytes)
        if (this.#silent.has(from) || to.destroyed || to.write(bytes)) return
        from.pause()
        to.once('drain', () => from.resume())
      })
      .on('end', () => {
        if (!this.#silent.has(from)) to.end()
      })
      .on('error', () => {})
      .on('close', () => {
        if (this.#silent.has(from)) return
        this.#sockets.delete(from)
        to.destroy()
      })
  }

  mend(): Promise<void> {
    this.#isListening = true
    return new Promise((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve))
  }

  [Symbol.dispose](): void {
    this.cut()
  }
}
