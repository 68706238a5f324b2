import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'

export type WaitKind = 'disk' | 'quota' | 'superexec' | 'app-start' | 'app' | 'nodes' | 'replies'

/** What a run waits for. */
export interface Wait {
  readonly kind: WaitKind
  /** What is missing, as the rest of a sentence that begins with "waits for". */
  readonly what: string
  readonly sinceAt: number
  /** What would help; empty if only time does. */
  readonly remedy: string
  /** Names of the nodes whose replies are missing, at most `waitNodesShownMax`; only for `replies`. */
  readonly nodes?: readonly string[]
}

interface Questions {
  readonly firstAt: number
  readonly lastAt: number
  readonly isHeld: boolean
}

/** An app that still asks for nodes this long after its first question waits for more of them. */
const repeatedAfterMs = 2000
/** An app that has not asked again for so long waits for something else. */
const questionsEndMs = 60_000

/** Keeps in memory which runs wait, and for what. */
export class RunWaits {
  readonly #questions = new Map<RunId, Questions>()
  readonly #waits = new Map<RunId, Wait>()
  /** Keys of the waits that followers have seen. */
  readonly #noticed = new Map<RunId, string>()
  readonly #late = new Map<RunId, readonly string[]>()

  /** The ServerApp asks which nodes there are. `isHeld`: it waits until there are others. */
  askedForNodes(runId: RunId, at: number, isHeld: boolean): void {
    this.#questions.set(runId, { firstAt: this.#questions.get(runId)?.firstAt ?? at, lastAt: at, isHeld })
  }

  /** The ServerApp has messages for the nodes that it found. */
  foundNodes(runId: RunId): void {
    this.#questions.delete(runId)
  }

  /** Since when the ServerApp waits for more nodes; `undefined` if it does not. */
  nodesWantedSince(runId: RunId, now: number): number | undefined {
    const asked = this.#questions.get(runId)
    if (!asked || now - asked.lastAt > questionsEndMs) return undefined
    return asked.isHeld || asked.lastAt - asked.firstAt >= repeatedAfterMs ? asked.firstAt : undefined
  }

  /** What the last look at all runs found. */
  get known(): ReadonlyMap<RunId, Wait> {
    return this.#waits
  }

  find(runId: RunId): Wait | undefined {
    return this.#waits.get(runId)
  }

  /** Names of the nodes whose replies are late, as of the last look. */
  lateNodes(runId: RunId): readonly string[] {
    return this.#late.get(runId) ?? []
  }

  /** Takes over what a look at all runs has found. Returns the runs that have other late nodes than before. */
  replace(waits: ReadonlyMap<RunId, Wait>, now: number): RunId[] {
    for (const [runId, { lastAt }] of this.#questions) if (now - lastAt > questionsEndMs) this.#questions.delete(runId)
    const before = new Map(this.#late)
    this.#waits.clear()
    this.#late.clear()
    for (const [runId, wait] of waits) {
      this.#waits.set(runId, wait)
      if (wait.nodes && now - wait.sinceAt >= limits.lateReplyMs) this.#late.set(runId, wait.nodes)
    }
    const runIds = new Set([...before.keys(), ...this.#late.keys()])
    return [...runIds].filter((runId) => String(before.get(runId) ?? '') !== String(this.lateNodes(runId)))
  }

  /** Returns the runs with news for the programs that follow them. */
  notice(notices: ReadonlyMap<RunId, Wait>): RunId[] {
    const runIds = new Set([...this.#noticed.keys(), ...notices.keys()])
    const changed = [...runIds].filter((runId) => (this.#noticed.get(runId) ?? '') !== keyOf(notices.get(runId)))
    this.#noticed.clear()
    for (const [runId, wait] of notices) this.#noticed.set(runId, keyOf(wait))
    return changed
  }

  forget(runId: RunId): void {
    this.#questions.delete(runId)
    this.#waits.delete(runId)
    this.#late.delete(runId)
  }
}

/** Waits with the same key are one: a single reply that has come is no news to programs that follow a log. */
export function keyOf(wait: Wait | undefined): string {
  return wait ? `${wait.kind} ${wait.remedy}` : ''
}
