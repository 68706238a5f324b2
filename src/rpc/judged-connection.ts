import type { Socket } from 'node:net'
import type { PeerIdentity } from '../identity/caller.ts'
import type { Connection } from './call.ts'

const anonymous: PeerIdentity = { kind: 'anonymous' }
let lastConnectionId = 0

/** Decides about a peer from its certificates, leaf first, DER; none means that it presented none. */
export type JudgePeer = (chain: readonly Uint8Array[], when: 'new' | 'open') => PeerIdentity

/** A connection of a listener with what was decided about its peer, which can be decided again. */
export class JudgedConnection implements Connection {
  readonly id = ++lastConnectionId
  readonly remoteAddress: string
  readonly secure: boolean
  readonly closed: AbortSignal
  readonly #cutOff = new AbortController()
  readonly #socket: Socket
  readonly #chain: readonly Uint8Array[]
  readonly #judge: JudgePeer | undefined
  #peer: PeerIdentity

  constructor(socket: Socket, secure: boolean, chain: readonly Uint8Array[], judge: JudgePeer | undefined) {
    const controller = new AbortController()
    socket.once('close', () => controller.abort())
    this.closed = controller.signal
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`
    this.secure = secure
    this.#socket = socket
    this.#chain = chain
    this.#judge = judge
    this.#peer = judge ? judge(chain, 'new') : anonymous
  }

  get peer(): PeerIdentity {
    return this.#peer
  }

  get cutOff(): AbortSignal {
    return this.#cutOff.signal
  }

  /** Answers whether the peer was let in before and is refused now; then its calls are told, and the end comes soon. */
  judgeAgain(): boolean {
    if (!this.#judge || this.#peer.kind === 'refused') return false
    this.#peer = this.#judge(this.#chain, 'open')
    if (this.#peer.kind !== 'refused') return false
    this.#cutOff.abort()
    setTimeout(() => this.close(), answersOutMs).unref()
    return true
  }

  close(): void {
    this.#socket.destroySoon()
    setTimeout(() => this.#socket.destroy(), 500).unref()
  }
}

/** How long answers may take to get out before a connection is closed: on a machine that is busy, a while. */
const answersOutMs = 400
