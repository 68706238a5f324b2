import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { getPriority, setPriority } from 'node:os'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'

/** What hostile clients do to a listener. Run in a thread of its own, so that the work is not the measured client's. */

export interface Target {
  readonly port: number
  readonly ca: string
  /** Of peers that are let in, and of one that is not. */
  readonly valid: readonly Pair[]
  readonly refused: Pair
}

/** The life of an attack: it says when it has reached its full strength, and goes on until it is told to stop. */
interface Attack extends Target {
  readonly ready: () => void
  readonly stop: AbortSignal
}

interface Pair {
  readonly cert: string
  readonly key: string
}

export type AttackName = keyof typeof attacks

/** Each returns how often it did what it does. */
const attacks = {
  /** The first half of a ClientHello, and nothing more. */
  'handshakes that never finish': async (target: Attack) => {
    const hello = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(40, 7)])
    const sockets = await many(1000, 32, () => tcp(target.port))
    for (const socket of sockets) socket.write(hello)
    target.ready()
    await stopped(target.stop)
    return end(sockets)
  },
  'connections that stay silent': async (target: Attack) => {
    const sockets = await many(500, 16, (index) => tls(target, validOf(target, index), ['h2']))
    target.ready()
    await stopped(target.stop)
    return end(sockets)
  },
  /** A byte of a request every 100 ms. */
  'a thousand slow clients': async (target: Attack) => {
    const sockets = await many(1000, 16, (index) => tls(target, validOf(target, index), ['http/1.1']))
    const request = 'POST /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\nx-padding: '
    target.ready()
    for (let at = 0; !target.stop.aborted; at++) {
      for (const socket of sockets) socket.write(request[at] ?? 'x')
      await pause(100)
    }
    return end(sockets)
  },
  'a flood of refused clients': async (target: Attack) => {
    let count = 0
    await during(target, 16, async () => {
      const socket = await tls(target, target.refused, ['http/1.1'])
      socket.write('POST /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n')
      await new Promise((resolve) => socket.once('data', resolve).once('close', resolve))
      socket.destroy()
      count++
    })
    return count
  },
  'a flood of headers': (target: Attack) => floodOfHeaders(target, 100),
  /** Fewer than are refused. */
  'a flood of calls with many headers': (target: Attack) => floodOfHeaders(target, 40),
  /** Opens streams and takes them back at once. */
  'a flood of resets': async (target: Attack) => {
    let count = 0
    await during(target, 4, () =>
      overHttp2(target, async (session) => {
        for (let batch = 0; batch < 10 && !session.destroyed; batch++) {
          for (let stream = 0; stream < 100 && !session.destroyed; stream++) {
            const request = session.request({ ':method': 'POST', ':path': '/flwr.proto.Fleet/PullMessages' })
            request.on('error', () => {}).resume()
            request.close(8)
            count++
          }
          await pause(1)
        }
      }),
    )
    return count
  },
} as const

async function floodOfHeaders(target: Attack, headersEach: number): Promise<number> {
  const headers = Object.fromEntries(Array.from({ length: headersEach }, (_, index) => [`x-${index}`, 'y'.repeat(150)]))
  let count = 0
  await during(target, 4, () =>
    overHttp2(target, async (session) => {
      const requests = Array.from({ length: 50 }, () =>
        session.request({ ':method': 'POST', ':path': '/x', ...headers }),
      )
      count += requests.length
      await Promise.all(
        requests.map(
          (request) =>
            new Promise((resolve) =>
              request
                .on('error', () => {})
                .once('close', resolve)
                .resume(),
            ),
        ),
      )
    }),
  )
  return count
}

export const attackNames = Object.keys(attacks) as AttackName[]

const validOf = ({ valid }: Target, index: number): Pair => valid[index % valid.length] as Pair
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function end(sockets: readonly Socket[]): number {
  for (const socket of sockets) socket.destroy()
  return sockets.length
}

/** As many at a time as the step says; those that the server does not take are left out. */
async function many<T>(count: number, step: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = []
  for (let tried = 0; tried < count; tried += step) {
    const results = await Promise.allSettled(Array.from({ length: step }, (_, index) => open(tried + index)))
    opened.push(...results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])))
  }
  return opened
}

async function during({ ready, stop }: Attack, atOnce: number, work: () => Promise<void>): Promise<void> {
  const one = async (): Promise<void> => {
    while (!stop.aborted) await work().catch(() => pause(5))
  }
  ready()
  await Promise.all(Array.from({ length: atOnce }, one))
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function tcp(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp(port, '127.0.0.1', () => resolve(socket))
    socket.on('error', reject).resume()
  })
}

function tls({ port, ca }: Target, pair: Pair, ALPNProtocols: string[]): Promise<TLSSocket> {
  const options: ConnectionOptions = { host: '127.0.0.1', port, ca, ...pair, ALPNProtocols }
  return new Promise((resolve, reject) => {
    const socket = connectTls(options, () => resolve(socket))
    socket.on('error', reject).once('close', () => reject(new Error('closed')))
    socket.resume()
  })
}

let opened = 0

async function overHttp2(
  target: Target,
  work: (session: ReturnType<typeof connectHttp2>) => Promise<void>,
): Promise<void> {
  const session = connectHttp2(`https://127.0.0.1:${target.port}`, { ca: target.ca, ...validOf(target, opened++) })
  session.on('error', () => {})
  try {
    await new Promise((resolve, reject) =>
      session.once('connect', resolve).once('close', () => reject(new Error('closed'))),
    )
    await work(session)
  } finally {
    session.destroy()
  }
}

if (!isMainThread) {
  // Attackers have machines of their own: here they yield to the measured programs, and take what is left of the cores.
  setPriority(Math.min(19, getPriority() + 10))
  const { name, target } = workerData as { name: AttackName; target: Target }
  const stop = new AbortController()
  parentPort?.once('message', () => stop.abort())
  const count = await attacks[name]({ ...target, ready: () => parentPort?.postMessage('ready'), stop: stop.signal })
  parentPort?.postMessage(count)
}
