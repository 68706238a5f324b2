import { setImmediate as nextTurn } from 'node:timers/promises'

interface Waiting<Item, Result> {
  readonly item: Item
  readonly keys: readonly unknown[]
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

export interface TogetherOptions<Item, Result> {
  /** Returns a result for each item, in their order. */
  readonly work: (items: readonly Item[]) => Promise<readonly Result[]>
  /** Items that have a key in common are never done in the same batch. */
  readonly keysOf: (item: Item) => readonly unknown[]
  readonly atOnce: number
}

/**
 * Does what many callers ask for in batches: items that arrive while a batch is under way, or in the same turn of the event
 * loop, are done together. If a batch fails, each of its items is done by itself, so that a bad one harms no other.
 */
export class Together<Item, Result> {
  readonly #options: TogetherOptions<Item, Result>
  #waiting: Waiting<Item, Result>[] = []
  #isWorking = false

  constructor(options: TogetherOptions<Item, Result>) {
    this.#options = options
  }

  do(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, keys: this.#options.keysOf(item), resolve, reject })
      if (this.#isWorking) return
      this.#isWorking = true
      void this.#drain()
    })
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Requests that wait in their sockets are read first.
      await nextTurn()
      await this.#doSome(this.#take())
    }
    this.#isWorking = false
  }

  /** The oldest items that have no key in common. */
  #take(): readonly Waiting<Item, Result>[] {
    const { atOnce } = this.#options
    const taken: Waiting<Item, Result>[] = []
    const left: Waiting<Item, Result>[] = []
    const keys = new Set<unknown>()
    let looked = 0
    for (const one of this.#waiting) {
      if (taken.length === atOnce) break
      looked += 1
      const isFree = !one.keys.some((key) => keys.has(key))
      for (const key of one.keys) keys.add(key)
      if (isFree) taken.push(one)
      else left.push(one)
    }
    this.#waiting = left.concat(this.#waiting.slice(looked))
    return taken
  }

  async #doSome(some: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#options.work(some.map(({ item }) => item))
      for (const [index, { resolve }] of some.entries()) resolve(results[index] as Result)
    } catch (error) {
      if (some.length === 1) return some[0]?.reject(error)
      for (const one of some) await this.#doSome([one])
    }
  }
}
