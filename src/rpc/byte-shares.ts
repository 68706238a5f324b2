import type { DomainError } from '../base/errors.ts'

export interface ByteSharesOptions {
  /** Bytes of all peers together, and of one peer. */
  readonly bytesMax: number
  readonly perPeerBytesMax: number
  /** How long bytes wait for room before they are refused, in milliseconds. */
  readonly roomMs: number
  /** The refusal of bytes that found no room: because of what their own peer holds, or because of all peers. */
  readonly refusal: (cause: 'own' | 'all', peer: string) => DomainError
}

interface Waiter {
  readonly peer: string
  readonly bytes: number
  /** Whether the bytes are in memory while they wait. */
  readonly isBuilt: boolean
  readonly admit: () => void
}

interface TakeOptions {
  /** Ends the wait. */
  readonly caller?: { readonly signal: AbortSignal }
  /** Whether the bytes are in memory already. */
  readonly isBuilt?: boolean
}

/**
 * Shares a number of bytes between peers. A peer holds no more than its share, and no more than is left free: however many
 * peers fill their shares, there is room for one more. Bytes without room wait, first come first served among those that
 * fit, and are refused after a time limit. Bytes that are in memory already may wait too, up to the share of their peer.
 */
export class ByteShares {
  readonly #options: ByteSharesOptions
  readonly #peers = new Map<string, number>()
  readonly #waiting = new Set<Waiter>()
  readonly #built = new Map<string, number>()
  #taken = 0

  constructor(options: ByteSharesOptions) {
    this.#options = options
  }

  get bytesTaken(): number {
    return this.#taken
  }

  /** The room of one call; `release` gives all of it back. What is taken or given after it changes nothing. */
  open(peer: string): ByteRoom {
    let held = 0
    let released = false
    return {
      take: (bytes, options = {}) => {
        if (released) return undefined
        if (this.#fits(peer, bytes)) {
          held += bytes
          this.#add(peer, bytes)
          return undefined
        }
        return this.#wait(peer, bytes, options).then(() => {
          if (!released) {
            held += bytes
            return
          }
          this.#add(peer, -bytes)
          this.#admitWaiting()
        })
      },
      give: (bytes) => {
        const given = Math.min(bytes, held)
        held -= given
        this.#add(peer, -given)
        this.#admitWaiting()
      },
      release: () => {
        if (released) return
        released = true
        this.#add(peer, -held)
        held = 0
        this.#admitWaiting()
      },
    }
  }

  #fits(peer: string, bytes: number): boolean {
    const { bytesMax, perPeerBytesMax } = this.#options
    const ofPeer = (this.#peers.get(peer) ?? 0) + bytes
    return ofPeer <= perPeerBytesMax && ofPeer <= bytesMax - this.#taken - bytes
  }

  #add(peer: string, bytes: number): void {
    this.#taken += bytes
    addTo(this.#peers, peer, bytes)
  }

  #wait(peer: string, bytes: number, { caller, isBuilt = false }: TakeOptions): Promise<void> {
    const signal = caller?.signal
    const { perPeerBytesMax, roomMs } = this.#options
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      if (isBuilt && (this.#built.get(peer) ?? 0) + bytes > perPeerBytesMax) return reject(this.#refusal(peer, bytes))
      const leave = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        if (!this.#waiting.delete(waiter)) return
        if (isBuilt) addTo(this.#built, peer, -bytes)
      }
      const onAbort = (): void => {
        leave()
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        leave()
        reject(this.#refusal(peer, bytes))
      }, roomMs)
      const waiter: Waiter = {
        ...{ peer, bytes, isBuilt },
        admit: () => {
          leave()
          resolve()
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiter)
      if (isBuilt) addTo(this.#built, peer, bytes)
    })
  }

  #admitWaiting(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.peer, waiter.bytes)) continue
      this.#add(waiter.peer, waiter.bytes)
      waiter.admit()
    }
  }

  #refusal(peer: string, bytes: number): DomainError {
    const { perPeerBytesMax, refusal } = this.#options
    return refusal((this.#peers.get(peer) ?? 0) + bytes > perPeerBytesMax ? 'own' : 'all', peer)
  }
}

export interface ByteRoom {
  /** Takes room for bytes: at once, or after a wait. Rejects if no room comes free in time, or with the reason of the caller's signal. */
  take(bytes: number, options?: TakeOptions): Promise<void> | undefined
  /** Gives a part back. */
  give(bytes: number): void
  release(): void
}

function addTo(map: Map<string, number>, key: string, bytes: number): void {
  const left = (map.get(key) ?? 0) + bytes
  if (left > 0) map.set(key, left)
  else map.delete(key)
}
