import { parseAddress } from '../rpc/address.ts'
import { type ChannelTls, dial } from '../rpc/dial.ts'
import type { AppGeneration } from './task-api.ts'

const patienceMs = 5000
const question = 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

/**
 * Which API for apps a server has: who answers HTTP/1.1 has the Runtime API. Flower 1.29 speaks HTTP/2 alone, and never TLS
 * at these ports. Throws an RpcError when nobody is there.
 */
export async function findGeneration(address: string, tls: ChannelTls): Promise<AppGeneration> {
  if (tls !== 'insecure') return 'runtime'
  const { socket } = await dial(parseAddress(address, 'The server address'), tls, [])
  try {
    return await new Promise((resolve) => {
      const decide = (start: string): void => resolve(start.startsWith('HTTP/1.') ? 'runtime' : 'appio')
      const timer = setTimeout(() => resolve('runtime'), patienceMs)
      // A server that starts or stops may close without a word: its next answer will show.
      socket.once('close', () => resolve('runtime'))
      socket.once('data', (chunk: Buffer) => decide(chunk.toString('latin1', 0, 16)))
      socket.once('close', () => clearTimeout(timer))
      socket.write(question)
    })
  } finally {
    socket.destroy()
  }
}
