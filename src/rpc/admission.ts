import type { Socket } from 'node:net'
import { limits } from '../base/limits.ts'

/**
 * The life of a connection at a listener, up to the judgement of its peer:
 *
 *     waiting → handshaking → learning → admitted | refused → closed
 *
 * A connection waits, unread, until it is its turn. It is handshaking until TLS is established and the peer has shown which
 * wire it speaks, and learning while an OCSP responder is asked. Any state may end in closed. Each has a bound on how many
 * connections are in it, and on how long one is.
 */
export type AdmissionState = 'waiting' | 'handshaking' | 'learning' | 'admitted' | 'refused'

export interface StateBound {
  readonly max: number
  readonly ms: number | undefined
}

/** Shares of identities and the doors bound what is admitted. Learning ends by itself. */
export const stateBounds: Readonly<Record<AdmissionState, StateBound>> = {
  waiting: { max: limits.connectionsWaitingMax, ms: limits.waitingConnectionMs },
  handshaking: { max: limits.connectionsUnjudgedMax, ms: limits.unjudgedConnectionMs },
  learning: { max: limits.connectionsLearningMax, ms: undefined },
  admitted: { max: Number.POSITIVE_INFINITY, ms: undefined },
  refused: { max: limits.connectionsRefusedMax, ms: limits.refusedConnectionMs },
}

/** To which states a connection may move, beside its end. */
const moves: Readonly<Record<AdmissionState, readonly AdmissionState[]>> = {
  waiting: ['handshaking'],
  handshaking: ['learning', 'admitted', 'refused'],
  learning: ['admitted', 'refused'],
  admitted: [],
  refused: [],
}

export interface AdmissionOptions {
  /** Reads the first bytes of a connection whose turn has come. */
  readonly start: (socket: Socket) => void
  /** A connection waits because too many are in their handshake, or is turned away because too many wait. */
  readonly onCrowd: (socket: Socket, isTurnedAway: boolean) => void
  /** Ends a connection for which there is no place. */
  readonly turnAway: (socket: Socket) => void
  /** How many handshakes share the processor, and how long one that is slow counts as one of them. */
  readonly atOnce: number
  readonly turnMs: number
  /** Other ones than usual, for tests. */
  readonly bounds?: Readonly<Record<AdmissionState, StateBound>>
  readonly now?: () => number
  readonly afterReading?: (action: () => void) => void
}

interface Entry {
  readonly key: string
  readonly socket: Socket
  /** The address of the peer: addresses take turns. */
  readonly from: string
  state: AdmissionState
  since: number
  timer: NodeJS.Timeout | undefined
}

/** Holds every connection of a listener in its state. Knows nothing of TLS and certificates. */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #bounds: Readonly<Record<AdmissionState, StateBound>>
  readonly #now: () => number
  /**
   * Runs after the event loop has read its sockets. When a busy program comes to its timers, handshakes that seem late may be
   * complete in the sockets: closing them would waste their work, and their peers would come back.
   */
  readonly #afterReading: (action: () => void) => void
  readonly #entries = new Map<string, Entry>()
  readonly #counts: Record<AdmissionState, number> = {
    waiting: 0,
    handshaking: 0,
    learning: 0,
    admitted: 0,
    refused: 0,
  }
  /** By address, in the order of their turns; of each the oldest first. */
  readonly #waiting = new Map<string, Set<Entry>>()
  readonly #handshaking = new Set<Entry>()
  readonly #turns = new Map<string, NodeJS.Timeout>()
  #lookAgain: NodeJS.Timeout | undefined

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#bounds = options.bounds ?? stateBounds
    this.#now = options.now ?? (() => performance.now())
    this.#afterReading = options.afterReading ?? setImmediate
  }

  count(state: AdmissionState): number {
    return this.#counts[state]
  }

  /** Adds a connection to the line. The key names an open connection: a former connection with the same key is over. */
  arrive(key: string, socket: Socket): void {
    const { onCrowd, turnAway } = this.#options
    // A connection that waits is not read, so its reset is not noticed, and its client may use the same port again.
    const former = this.#entries.get(key)
    if (former) {
      this.#forget(former)
      former.socket.destroy()
    }
    if (this.#counts.waiting >= this.#bounds.waiting.max) {
      onCrowd(socket, true)
      turnAway(socket)
      return
    }
    const from = socket.remoteAddress ?? ''
    const entry: Entry = { key, socket, from, state: 'waiting', since: this.#now(), timer: undefined }
    this.#entries.set(key, entry)
    socket.once('close', () => this.#forget(entry))
    this.#enter(entry, 'waiting')
    this.#fill()
  }

  /** The handshake does not use the processor any more. */
  endTurn(key: string): void {
    clearTimeout(this.#turns.get(key))
    if (this.#turns.delete(key)) this.#fill()
  }

  /** Moves a connection on. Returns `false` if there is no place in that state, or the connection has ended. */
  move(key: string, state: AdmissionState): boolean {
    const entry = this.#entries.get(key)
    if (!entry || this.#isFull(state)) return false
    if (!moves[entry.state].includes(state)) throw new Error(`A ${entry.state} connection cannot become ${state}`)
    this.#leave(entry)
    this.#enter(entry, state)
    this.#fill()
    return true
  }

  close(): void {
    clearTimeout(this.#lookAgain)
    for (const entry of this.#entries.values()) entry.socket.destroy()
  }

  #isFull(state: AdmissionState): boolean {
    return this.#counts[state] >= this.#bounds[state].max
  }

  #enter(entry: Entry, state: AdmissionState): void {
    entry.state = state
    entry.since = this.#now()
    this.#counts[state] += 1
    const { ms } = this.#bounds[state]
    if (ms !== undefined) entry.timer = setTimeout(() => this.#expire(entry), ms).unref()
    if (state === 'handshaking') this.#handshaking.add(entry)
    if (state !== 'waiting') return
    const others = this.#waiting.get(entry.from)
    if (others) others.add(entry)
    else this.#waiting.set(entry.from, new Set([entry]))
  }

  #leave(entry: Entry): void {
    clearTimeout(entry.timer)
    this.#counts[entry.state] -= 1
    this.#handshaking.delete(entry)
    const others = this.#waiting.get(entry.from)
    if (others?.delete(entry) && others.size === 0) this.#waiting.delete(entry.from)
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.key) !== entry) return
    this.#drop(entry)
    this.#fill()
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#leave(entry)
    clearTimeout(this.#turns.get(entry.key))
    this.#turns.delete(entry.key)
  }

  #expire(entry: Entry): void {
    if (entry.state === 'waiting') this.#options.turnAway(entry.socket)
    else if (entry.state === 'handshaking')
      this.#afterReading(() => entry.state === 'handshaking' && entry.socket.destroy())
    else entry.socket.destroy()
  }

  #fill(makeRoom: () => boolean = () => false): void {
    const { atOnce, turnMs, start } = this.#options
    while (this.#waiting.size > 0 && this.#turns.size < atOnce) {
      if (this.#isFull('handshaking') && !makeRoom()) {
        this.#waitForRoom()
        return
      }
      const entry = this.#next()
      this.#leave(entry)
      this.#enter(entry, 'handshaking')
      this.#turns.set(
        entry.key,
        setTimeout(() => this.endTurn(entry.key), turnMs),
      )
      start(entry.socket)
    }
  }

  /** Returns the oldest connection of the address whose turn it is; the address goes to the end of the line. */
  #next(): Entry {
    const [[from, entries] = ['', new Set<Entry>()]] = this.#waiting
    const [entry] = entries
    this.#waiting.delete(from)
    this.#waiting.set(from, entries)
    return entry as Entry
  }

  /** Looks again when the oldest handshake has had its time. */
  #waitForRoom(): void {
    const [oldest] = this.#handshaking
    const [[first] = []] = this.#waiting.values()
    if (!oldest || this.#lookAgain) return
    if (first) this.#options.onCrowd(first.socket, false)
    const look = (): void => {
      this.#lookAgain = undefined
      this.#fill(() => this.#evictOldest())
    }
    const restMs = Math.max(0, limits.handshakeMs - (this.#now() - oldest.since))
    this.#lookAgain = setTimeout(() => this.#afterReading(look), restMs).unref()
  }

  /** The oldest handshake gives way to the line once it has had the time that a handshake takes. */
  #evictOldest(): boolean {
    const [oldest] = this.#handshaking
    if (!oldest || this.#now() - oldest.since < limits.handshakeMs) return false
    this.#drop(oldest)
    oldest.socket.destroy()
    return true
  }
}
