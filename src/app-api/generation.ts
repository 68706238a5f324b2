import { parseAddress } from '../rpc/address.ts'
import { type ChannelTls, dial } from '../rpc/dial.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import type { AppGeneration } from './task-api.ts'

const question = 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

/**
 * Which API for apps a server has: a server that responds to HTTP/1.1 has the Runtime API. Flower 1.29 speaks HTTP/2 alone, and never TLS
 * at these ports. Throws an RpcError if no server responds.
 */
export async function findGeneration(address: string, tls: ChannelTls, patienceMs = 10_000): Promise<AppGeneration> {
  if (tls !== 'insecure') return 'runtime'
  const { socket } = await dial(parseAddress(address, 'The server address'), tls, [])
  const unreachable = (what: string): RpcError => new RpcError('unavailable', what, { kind: 'unreachable' })
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(unreachable(`${address} did not answer in time.`)), patienceMs)
      socket.once('close', () => {
        clearTimeout(timer)
        reject(
          unreachable(
            `${address} closed the connection without a response: if it is a TLS port, leave --insecure out.`,
          ),
        )
      })
      socket.once('data', (chunk: Buffer) => {
        clearTimeout(timer)
        resolve(chunk.toString('latin1', 0, 7) === 'HTTP/1.' ? 'runtime' : 'appio')
      })
      socket.write(question)
    })
  } finally {
    socket.destroy()
  }
}
