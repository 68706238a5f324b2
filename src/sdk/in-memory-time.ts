import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Message } from '../message/message.ts'

/** Time that passes only when something waits for it. */
export class VirtualClock implements Clock {
  #now = Date.parse('2026-01-01T00:00:00Z')

  now(): number {
    return this.#now
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#now += Math.max(0, ms)
  }

  advanceTo(at: number): void {
    this.#now = Math.max(this.#now, at)
  }
}

/** A reply and when it arrives. */
export interface Arrival {
  readonly at: number
  readonly reply: Message
}

interface Wait {
  readonly ms: number
  /** Ends the wait. */
  readonly enough: number
  /** Whether replies with an error do not count as enough. */
  readonly ignoresErrors?: boolean
  readonly signal?: AbortSignal | undefined
}

/** The replies that are under way, and those that have arrived. */
export class Arrivals {
  readonly #clock: Clock
  readonly #random: (() => number) | undefined
  readonly #coming = new Map<string, Promise<Arrival | undefined>>()
  readonly #known = new Map<string, Arrival>()

  /** With `random` replies are handed out in a random order, else in the order in which they arrive. */
  constructor(clock: Clock, random: (() => number) | undefined) {
    this.#clock = clock
    this.#random = random
  }

  /** Of the messages whose replies were not taken yet. */
  get openIds(): string[] {
    return [...this.#coming.keys()]
  }

  add(messageId: string, coming: Promise<Arrival | undefined>): void {
    // A virtual clock can jump only if it is known which replies never come.
    if (this.#clock instanceof VirtualClock) return void this.#coming.set(messageId, this.#settled(messageId, coming))
    const known = coming.then(async (arrival) => {
      if (!arrival) return new Promise<never>(() => {})
      const restMs = arrival.at - this.#clock.now()
      if (restMs > 0) await this.#clock.sleep(restMs)
      this.#known.set(messageId, arrival)
      return arrival
    })
    this.#coming.set(messageId, known)
  }

  /** Waits until enough of these replies are there, all of them, or the time is up. */
  async wait(ids: readonly string[], { ms, enough, ignoresErrors = false, signal }: Wait): Promise<void> {
    const counts = ({ reply }: Arrival): boolean => !ignoresErrors || reply.error === undefined
    const coming = ids.flatMap((id) => this.#coming.get(id) ?? [])
    if (coming.length === 0) return
    if (this.#clock instanceof VirtualClock) {
      signal?.throwIfAborted()
      const arrivals = (await Promise.all(coming)).filter((arrival) => arrival !== undefined)
      const instants = arrivals
        .filter(counts)
        .map(({ at }) => at)
        .sort((a, b) => a - b)
      const last =
        arrivals.length === coming.length ? Math.max(...arrivals.map(({ at }) => at)) : Number.POSITIVE_INFINITY
      const at = Math.min(instants[enough - 1] ?? Number.POSITIVE_INFINITY, last, this.#clock.now() + ms)
      if (at === Number.POSITIVE_INFINITY)
        throw new Error('A reply that is dropped would be waited for without end: give the wait a timeout.')
      this.#clock.advanceTo(at)
      return
    }
    let missing = Math.min(enough, coming.length)
    const { promise, resolve } = Promise.withResolvers<void>()
    let rest = coming.length
    for (const one of coming)
      void one.then((arrival) => {
        rest--
        if (arrival && counts(arrival)) missing--
        if (missing <= 0 || rest === 0) resolve()
      })
    await settledWithin(promise, ms, signal)
  }

  /** Each reply is handed out once. */
  take(ids: readonly string[]): Arrival[] {
    const now = this.#clock.now()
    const taken: Arrival[] = []
    for (const id of ids) {
      const arrival = this.#known.get(id)
      if (!arrival || (this.#clock instanceof VirtualClock && arrival.at > now)) continue
      taken.push(arrival)
      this.#known.delete(id)
      this.#coming.delete(id)
    }
    const random = this.#random
    return taken
      .map((arrival) => ({ arrival, place: random?.() ?? arrival.at }))
      .sort((a, b) => a.place - b.place)
      .map(({ arrival }) => arrival)
  }

  async #settled(messageId: string, coming: Promise<Arrival | undefined>): Promise<Arrival | undefined> {
    const arrival = await coming
    if (arrival) this.#known.set(messageId, arrival)
    return arrival
  }
}

/** The longest that a timer can run. */
const timerMsMax = 2 ** 31 - 1

async function settledWithin(work: Promise<unknown>, ms: number, signal?: AbortSignal): Promise<void> {
  const done = new AbortController()
  const timeout = delay(Math.min(ms, timerMsMax), undefined, {
    signal: AbortSignal.any(signal ? [signal, done.signal] : [done.signal]),
  })
  try {
    await Promise.race([work, timeout])
  } finally {
    done.abort()
    timeout.catch(() => {})
  }
}
