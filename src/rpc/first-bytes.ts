import type { Socket } from 'node:net'

/** Which door serves a connection. */
export type Wire = 'grpc' | 'http'

/**
 * Calls back once a peer has shown what it speaks. The bytes stay in the socket, to be read by the door. `P` alone may begin
 * a method of HTTP/1.1 or the preface of HTTP/2.
 */
export function onFirstBytes(socket: Socket, callback: (first: Buffer) => void): void {
  let first: Buffer = Buffer.alloc(0)
  const look = (): void => {
    for (let chunk: Buffer | null = socket.read(); chunk; chunk = socket.read()) first = Buffer.concat([first, chunk])
    if (first.length === 0 || (first.length === 1 && first[0] === 0x50)) return
    socket.off('readable', look)
    socket.unshift(first)
    callback(first)
  }
  socket.on('readable', look)
}

/** HTTP/2 opens with `PRI`. */
export function wireOf(first: Buffer): Wire {
  return first[0] === 0x50 && first[1] === 0x52 ? 'grpc' : 'http'
}

/** 0x16 opens a TLS handshake. */
export function isTlsHandshake(first: Buffer): boolean {
  return first[0] === 0x16
}
