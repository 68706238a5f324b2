import type { Socket } from 'node:net'
import { limits } from '../base/limits.ts'
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

  get bytesSent(): number {
    return this.#socket.bytesWritten
  }

  get cutOff(): AbortSignal {
    return this.#cutOff.signal
  }

  /**
   * Returns whether the peer was accepted before and is refused now. Then its calls end with the reason; the doors close the
   * connection when the last response is out, and a timer does so if the peer does not read it.
   */
  judgeAgain(): boolean {
    if (!this.#judge || this.#peer.kind === 'refused') return false
    this.#peer = this.#judge(this.#chain, 'open')
    if (this.#peer.kind !== 'refused') return false
    this.#cutOff.abort()
    setTimeout(() => this.close(), limits.cutOffMs).unref()
    return true
  }

  /** Sends what was written; a peer that does not read it holds the connection no longer than the bound. */
  close(): void {
    this.#socket.destroySoon()
    setTimeout(() => this.#socket.destroy(), limits.closeMs).unref()
  }
}
