import { createConnection, createServer, type Socket } from 'node:net'
import { freePort } from './free-port.ts'

/** Passes on what goes to a port of this machine, until the network is cut. */
export class Relay implements Disposable {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  readonly #server
  #isListening = false

  private constructor(port: number, target: number) {
    this.port = port
    this.#server = createServer((client) => {
      const upstream = createConnection(target, '127.0.0.1')
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(socket)
        socket
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(socket)
            other.destroy()
          })
      }
      client.pipe(upstream).pipe(client)
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

  mend(): Promise<void> {
    this.#isListening = true
    return new Promise((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve))
  }

  [Symbol.dispose](): void {
    this.cut()
  }
}
