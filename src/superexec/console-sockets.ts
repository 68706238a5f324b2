import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createTemporaryDirectorySync } from '../base/temporary-directory.ts'

/** The kind of the folders. */
export const socketsKind = 'trellis-out'
/** A process connects its standard output, then its standard error. */
const outputs = 2
/** How long a connection of a process that has ended may still be waiting to be accepted. */
const graceMs = 1000

/**
 * Sockets for the output of processes that other programs start, which therefore cannot be given pipes. Each process has a
 * socket of its own, in a folder that only this user can enter.
 */
export class ConsoleSockets implements Disposable {
  readonly #folder = createTemporaryDirectorySync(socketsKind)
  #count = 0

  /**
   * Returns the path of a new socket for so many connections. If it cannot be opened, the process keeps the output that it
   * was started with.
   */
  open(show: (socket: Socket) => void, ended: Promise<unknown>, connectionsMax = outputs): string {
    const path = join(this.#folder.path, String(++this.#count))
    let connections = 0
    const server = createServer((socket) => {
      connections += 1
      if (connections === connectionsMax) server.close()
      show(socket)
    })
    server.on('error', () => {})
    server.listen(path)
    void ended.then(() => setTimeout(() => server.close(), graceMs).unref())
    return path
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]()
  }
}
