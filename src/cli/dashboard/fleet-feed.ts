import type { Clock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import type { FleetState } from '../../web/model.ts'
import type { ControlClient } from '../connect.ts'
import { explainRpcError } from '../rpc-sentences.ts'
import { nodeView, runView, securityView } from './views.ts'

/** The newest runs. Older ones are in `flwr ls`. */
const runsShown = 100
const lookEveryMs = 2000
/** A large fleet, or a SuperLink that does not respond, is looked at less often. */
const rareLookMs = 5000
const largeFleet = 500

type Listener = (state: FleetState) => void

/** Looks at nodes and runs while a page is open, and tells the pages when something has changed. */
export class FleetFeed {
  readonly #client: Pick<ControlClient, 'listNodes' | 'listRuns' | 'showSecurity'>
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #listeners = new Set<Listener>()
  #state: FleetState
  #watching = false

  constructor(
    superlink: string,
    {
      client,
      clock,
      signal,
    }: { client: Pick<ControlClient, 'listNodes' | 'listRuns' | 'showSecurity'>; clock: Clock; signal: AbortSignal },
  ) {
    this.#client = client
    this.#clock = clock
    this.#signal = signal
    this.#state = { superlink, at: '', problem: undefined, nodes: [], runs: [], security: undefined, moreRuns: false }
  }

  /** Calls back at once with what is known, and after each look. Returns a function that ends this. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener)
    listener(this.#state)
    if (!this.#watching) void this.#watch()
    return () => void this.#listeners.delete(listener)
  }

  async #watch(): Promise<void> {
    this.#watching = true
    try {
      while (this.#listeners.size > 0 && !this.#signal.aborted) {
        this.#state = await this.#look()
        for (const listener of this.#listeners) listener(this.#state)
        const isRare = this.#state.problem !== undefined || this.#state.nodes.length > largeFleet
        await this.#clock.sleep(isRare ? rareLookMs : lookEveryMs, this.#signal).catch(() => {})
      }
    } finally {
      this.#watching = false
    }
  }

  async #look(): Promise<FleetState> {
    try {
      const [{ nodesInfo, now }, { runDict }, security] = await Promise.all([
        this.#client.listNodes({}),
        this.#client.listRuns({ limit: BigInt(runsShown + 1) }),
        // SuperLinks of Flower do not have this.
        this.#client.showSecurity({}).then(securityView, () => undefined),
      ])
      const runs = Object.values(runDict).sort((a, b) => (a.pendingAt < b.pendingAt ? 1 : -1))
      return {
        superlink: this.#state.superlink,
        at: oneLine(now),
        problem: undefined,
        nodes: nodesInfo.map(nodeView),
        runs: runs.slice(0, runsShown).map(runView),
        security,
        moreRuns: runs.length > runsShown,
      }
    } catch (error) {
      const since = this.#state.problem?.since ?? new Date(this.#clock.now()).toISOString()
      return { ...this.#state, problem: { sentence: oneLine(errorText(explainRpcError(error))), since } }
    }
  }
}
