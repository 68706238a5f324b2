import type { Clock } from '../base/clock.ts'
import { oneLine } from '../base/printable.ts'
import { mapInTurns } from '../base/turns.ts'
import type { Control } from '../gen/flwr/proto/control_pb.ts'
import type { Client } from '../rpc/channel.ts'
import type { FleetState } from '../web/model.ts'
import { nodeView, runView, securityView } from './views.ts'

/** The newest runs. Older ones are in `flwr ls`. */
const runsShown = 100
const lookEveryMs = 2000
/** A large fleet, or a SuperLink that does not respond, is looked at less often. */
const rareLookMs = 5000
const largeFleet = 500

/** Where the feed comes from. */
interface FleetSource {
  readonly client: Pick<Client<typeof Control>, 'listNodes' | 'listRuns' | 'showSecurity'>
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Returns why a call failed, as a sentence for the user. */
  readonly explain: (error: unknown) => string
  /** The page shows no buttons that change something. */
  readonly readOnly?: boolean
}

type Listener = (state: FleetState) => void

/** Looks at nodes and runs while a page is open, and tells all pages what it has seen. */
export class FleetFeed {
  readonly #source: FleetSource
  readonly #listeners = new Set<Listener>()
  #state: FleetState
  #watching = false
  #unwatched = new AbortController()

  constructor(superlink: string, source: FleetSource) {
    this.#source = source
    const readOnly = source.readOnly === true
    const nothing = { nodes: [], runs: [], security: undefined, moreRuns: false }
    this.#state = { superlink, readOnly, at: '', problem: undefined, ...nothing }
  }

  /** Calls back at once with what is known, and after each look. Returns a function that ends this. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener)
    listener(this.#state)
    if (!this.#watching) void this.#watch()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#unwatched.abort()
    }
  }

  async #watch(): Promise<void> {
    this.#watching = true
    try {
      while (this.#listeners.size > 0 && !this.#source.signal.aborted) {
        this.#state = await this.#look()
        for (const listener of this.#listeners) listener(this.#state)
        const isRare = this.#state.problem !== undefined || this.#state.nodes.length > largeFleet
        this.#unwatched = new AbortController()
        if (this.#listeners.size === 0) return
        const signal = AbortSignal.any([this.#source.signal, this.#unwatched.signal])
        await this.#source.clock.sleep(isRare ? rareLookMs : lookEveryMs, signal).catch(() => {})
      }
    } finally {
      this.#watching = false
    }
  }

  async #look(): Promise<FleetState> {
    try {
      const [{ nodesInfo, now }, { runDict }, security] = await Promise.all([
        this.#source.client.listNodes({}),
        this.#source.client.listRuns({ limit: BigInt(runsShown + 1) }),
        // SuperLinks of Flower do not have this.
        this.#source.client.showSecurity({}).then(securityView, () => undefined),
      ])
      const runs = Object.values(runDict).sort((a, b) => (a.pendingAt < b.pendingAt ? 1 : -1))
      return {
        superlink: this.#state.superlink,
        readOnly: this.#state.readOnly,
        at: oneLine(now),
        problem: undefined,
        nodes: await mapInTurns(nodesInfo, nodeView),
        runs: runs.slice(0, runsShown).map(runView),
        security,
        moreRuns: runs.length > runsShown,
      }
    } catch (error) {
      const since = this.#state.problem?.since ?? new Date(this.#source.clock.now()).toISOString()
      return { ...this.#state, problem: { sentence: oneLine(this.#source.explain(error)), since } }
    }
  }
}
