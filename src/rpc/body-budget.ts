import { DomainError } from '../base/errors.ts'
import { identityKey } from '../identity/caller.ts'
import type { Connection } from './call.ts'

export interface BodyBudgetBounds {
  /** Bytes of all bodies together, and of those of one peer. */
  readonly bodiesBytesMax: number
  readonly bodiesPerPeerBytesMax: number
  /** How long a body waits for room before it is refused, in milliseconds. */
  readonly bodyRoomMs: number
}

interface Waiter {
  readonly peer: string
  readonly bytes: number
  readonly admit: () => void
}

/**
 * Bounds the memory of request bodies, from their first byte until their call ends. A body takes room as its bytes arrive,
 * so a peer holds no more than it has sent, and no more than is left free: however many peers fill their shares, there is
 * room for one more. A body without room is not read on: HTTP/1.1 and HTTP/2 then slow its sender
 * down. If no room comes free in time, the body is refused, and its room is free for the others.
 */
export class BodyBudget {
  readonly #bounds: BodyBudgetBounds
  readonly #peers = new Map<string, number>()
  readonly #waiting = new Set<Waiter>()
  #taken = 0

  constructor(bounds: BodyBudgetBounds) {
    this.#bounds = bounds
  }

  get bytesTaken(): number {
    return this.#taken
  }

  /** The room of one body; `release` gives it back. */
  open(connection: Connection): BodyRoom {
    const peer = payerOf(connection)
    let own = 0
    let released = false
    return {
      take: (bytes) => {
        if (released) return undefined
        own += bytes
        if (this.#fits(peer, bytes)) {
          this.#add(peer, bytes)
          return undefined
        }
        own -= bytes
        return this.#wait(peer, bytes).then(() => {
          if (!released) {
            own += bytes
            return
          }
          this.#add(peer, -bytes)
          this.#admitWaiting()
        })
      },
      release: () => {
        if (released) return
        released = true
        this.#add(peer, -own)
        this.#admitWaiting()
      },
    }
  }

  #fits(peer: string, bytes: number): boolean {
    const { bodiesBytesMax, bodiesPerPeerBytesMax } = this.#bounds
    const own = (this.#peers.get(peer) ?? 0) + bytes
    return own <= bodiesPerPeerBytesMax && own <= bodiesBytesMax - this.#taken - bytes
  }

  #add(peer: string, bytes: number): void {
    this.#taken += bytes
    const own = (this.#peers.get(peer) ?? 0) + bytes
    if (own > 0) this.#peers.set(peer, own)
    else this.#peers.delete(peer)
  }

  #wait(peer: string, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter)
        reject(this.#refusal(peer, bytes))
      }, this.#bounds.bodyRoomMs)
      const waiter: Waiter = {
        ...{ peer, bytes },
        admit: () => {
          clearTimeout(timer)
          resolve()
        },
      }
      this.#waiting.add(waiter)
    })
  }

  #admitWaiting(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.peer, waiter.bytes)) continue
      this.#waiting.delete(waiter)
      this.#add(waiter.peer, waiter.bytes)
      waiter.admit()
    }
  }

  #refusal(peer: string, bytes: number): DomainError {
    const { bodiesBytesMax, bodiesPerPeerBytesMax } = this.#bounds
    return (this.#peers.get(peer) ?? 0) + bytes > bodiesPerPeerBytesMax
      ? new DomainError(
          'too-many-bytes',
          `Requests of ${peer} of more than ${bodiesPerPeerBytesMax} bytes are being received: send fewer at the same time.`,
        )
      : new DomainError(
          'crowded',
          `Requests of all peers fill most of the ${bodiesBytesMax} bytes that they may take: try again in a moment.`,
        )
  }
}

export interface BodyRoom {
  /** Takes room for bytes that have arrived: at once, or after a wait. Rejects with `too-many-bytes` or `crowded`. */
  take(bytes: number): Promise<void> | undefined
  release(): void
}

/** The identity in the certificate; else the address, for IPv6 the network of one customer. */
function payerOf({ peer, remoteAddress }: Pick<Connection, 'peer' | 'remoteAddress'>): string {
  return peer.kind === 'certificate'
    ? identityKey(peer)
    : networkOf(remoteAddress.slice(0, remoteAddress.lastIndexOf(':')))
}

/** An IPv4 address as it is, the first 64 bits of an IPv6 address. */
export function networkOf(host: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(host)
  if (mapped) return mapped[1] as string
  if (!host.includes(':')) return host
  const [head = '', tail = ''] = host.split('::')
  const front = head.split(':').filter((group) => group !== '')
  const back = tail.split(':').filter((group) => group !== '')
  const zeros = host.includes('::') ? 8 - front.length - back.length : 0
  const groups = [...front, ...new Array<string>(Math.max(zeros, 0)).fill('0'), ...back]
  return `${groups.slice(0, 4).join(':')}::/64`
}
