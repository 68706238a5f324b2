import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { type Issued, issue } from '../../src/identity/pki.ts'
import { validFor } from '../../test/harness/certificates.ts'
import { CallLostError, call, openSession, type Peer, type SessionOptions } from './grpc-calls.ts'

/** What one node each does. */
export const nodeTroubles = ['never-reads', 'slow', 'nonsense'] as const

interface TroublesomeNode {
  readonly name: (typeof nodeTroubles)[number]
  readonly peer: Peer
  readonly nodeId: bigint
}

/**
 * SuperNodes that misbehave after they have joined: one takes no byte of any response, one sends a byte a second, and one
 * replies with nonsense of the largest size that a message may have.
 */
export class Troublemakers implements Disposable {
  readonly #stop = new AbortController()
  readonly #nodes: readonly TroublesomeNode[]
  readonly #sessions: ClientHttp2Session[]
  /** How the calls of the node with the nonsense ended. */
  readonly refusals: string[] = []
  /** How many bodies of the slow node the server ended. */
  slowBodiesEnded = 0

  private constructor(nodes: readonly TroublesomeNode[], sessions: ClientHttp2Session[]) {
    this.#nodes = nodes
    this.#sessions = sessions
  }

  static async join(options: {
    host: string
    port: number
    ca: Issued
    publicKey: Uint8Array
    /** Other kinds of trouble are left out. */
    kinds: readonly string[]
  }): Promise<Troublemakers> {
    const { host, port, ca, publicKey, kinds } = options
    const nodes: TroublesomeNode[] = []
    const sessions: ClientHttp2Session[] = []
    for (const name of nodeTroubles.filter((name) => kinds.includes(name))) {
      const issued = await issue({ commonName: name, usages: ['client'], ...validFor(1) }, ca)
      const peer = { host, port, rootsPem: ca.certificatePem, ...issued }
      const session = await openSession(peer, timeoutMs)
      sessions.push(session)
      await call(session, fleet.registerNode, { publicKey }, { timeoutMs })
      const activated = await call(session, fleet.activateNode, { publicKey, heartbeatInterval: 60 }, { timeoutMs })
      nodes.push({ name, peer, nodeId: activated.nodeId })
    }
    return new Troublemakers(nodes, sessions)
  }

  /** Begins to misbehave, until disposed. */
  start(): void {
    const misbehave = {
      'never-reads': (node: TroublesomeNode) => this.#neverRead(node),
      slow: ({ peer }: TroublesomeNode) => this.#sendSlowly(peer),
      nonsense: ({ peer }: TroublesomeNode) => this.#sendNonsense(peer),
    }
    for (const node of this.#nodes) void this.#again(() => misbehave[node.name](node))
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    for (const session of this.#sessions) session.destroy()
  }

  async #again(misbehave: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await misbehave().catch(() => {})
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** Asks for as much as a connection may, and allows no byte of a response. */
  async #neverRead({ peer, nodeId }: TroublesomeNode): Promise<void> {
    const session = await this.#open(peer, { settings: { initialWindowSize: 0 } })
    const calls = Array.from({ length: streamsMax }, () =>
      call(session, fleet.pullMessages, { node: { nodeId } }, { timeoutMs, waitMs: timeoutMs }).catch(() => {}),
    )
    await Promise.all(calls)
  }

  async #sendSlowly(peer: Peer): Promise<void> {
    const stream = request(await this.#open(peer))
    const head = Buffer.alloc(5)
    head.writeUInt32BE(slowBytes, 1)
    stream.write(head)
    while (!stream.destroyed && !this.#stop.signal.aborted) {
      stream.write(Buffer.alloc(1))
      await delay(1000, undefined, { ref: false })
    }
    this.slowBodiesEnded += 1
  }

  async #sendNonsense(peer: Peer): Promise<void> {
    const session = await this.#open(peer, { maxSessionMemory })
    const stream = request(session)
    const body = Buffer.alloc(5 + largestBytes, 0xa5)
    body[0] = 0
    body.writeUInt32BE(largestBytes, 1)
    const { promise, resolve } = Promise.withResolvers<void>()
    let status = 'the connection ended'
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      if (headers['grpc-status'] !== undefined) status = `status ${headers['grpc-status']}`
    }
    stream.on('response', note).on('trailers', note).on('close', resolve).resume()
    stream.end(body)
    await promise
    this.refusals.push(status)
    session.destroy()
  }

  async #open(peer: Peer, options: SessionOptions = {}): Promise<ClientHttp2Session> {
    const session = await openSession(peer, timeoutMs, options)
    this.#sessions.push(session)
    if (this.#stop.signal.aborted) {
      session.destroy()
      throw new CallLostError('stopped')
    }
    return session
  }
}

const fleet = Fleet.method
const timeoutMs = 60_000
const pauseMs = 5000
const streamsMax = 100
/** As large as a message may be. */
const largestBytes = 64 * 1024 * 1024 - 16
const slowBytes = 1024 * 1024
/** MB. A client of Node that holds more unsent bytes than this cannot read a response. */
const maxSessionMemory = 100

function request(session: ClientHttp2Session): ClientHttp2Stream {
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: `/${Fleet.typeName}/${fleet.pushObject.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => {})
  return stream
}
