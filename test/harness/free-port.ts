import { createServer, type Server } from 'node:net'

/**
 * Ports for programs that must be told theirs before they start, or that start again at the same one. They lie below those
 * that the system hands out for port 0 and for outgoing connections (32768 and up on Linux): there, another test would take
 * a port between the moment it was found and the moment the program listens, or while the program is down.
 */
const firstPort = 12_000
const portsPerBlock = 100
const blockCount = 200

/** Every test process has a block for itself: it listens on the first port of it for as long as it lives. */
let block: Promise<{ readonly first: number; handedOut: number }> | undefined

/** Returns a port of 127.0.0.1 that no other test has, and on which no program listens. */
export async function freePort(): Promise<number> {
  block ??= takeBlock()
  const own = await block
  for (let tries = 1; tries < portsPerBlock; tries++) {
    own.handedOut = (own.handedOut % (portsPerBlock - 1)) + 1
    const port = own.first + own.handedOut
    const server = await listen(port)
    if (!server) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
  throw new Error(`The ports from ${own.first} on are all in use`)
}

async function takeBlock(): Promise<{ first: number; handedOut: number }> {
  for (let tries = 0; tries < blockCount; tries++) {
    const first = firstPort + ((process.pid + tries) % blockCount) * portsPerBlock
    const guard = await listen(first)
    if (!guard) continue
    guard.unref()
    return { first, handedOut: 0 }
  }
  throw new Error('No block of ports is free')
}

/** Returns `undefined` if the port is taken. */
function listen(port: number): Promise<Server | undefined> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
