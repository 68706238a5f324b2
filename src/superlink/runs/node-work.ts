import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'

/** What one node did for one message of a run. Instants are epoch milliseconds. */
export interface WorkSpan {
  readonly nodeId: NodeId
  /** The id of the message. */
  readonly messageId: string
  /** Counts the times that the app sent messages after all earlier ones had been answered; from 1. */
  readonly phase: number
  /** Round and phase as the app reported them, e.g. `round 3 train`; empty if it reports none. */
  readonly label: string
  readonly askedAt: number
  /** `undefined` if the node never fetched the message. */
  readonly fetchedAt: number | undefined
  readonly repliedAt: number
  readonly failed: boolean
}

export interface NodeTotals {
  readonly replies: number
  readonly failures: number
  /** From the fetch of a message to its reply, all together and the last time. */
  readonly seconds: number
  readonly lastSeconds: number
}

interface RunWork {
  /** The oldest first. */
  readonly spans: WorkSpan[]
  readonly totals: Map<NodeId, NodeTotals>
}

const noTotals: NodeTotals = { replies: 0, failures: 0, seconds: 0, lastSeconds: 0 }

/**
 * Which node worked how long in the newest runs, for programs that show it. In memory, so a restart forgets it; bounded, so
 * the oldest spans and runs are dropped.
 */
export class NodeWork {
  /** The run that changed last is the last. */
  readonly #runs = new Map<RunId, RunWork>()

  answered(runId: RunId, span: WorkSpan): void {
    const run: RunWork = this.#runs.get(runId) ?? { spans: [], totals: new Map() }
    this.#runs.delete(runId)
    this.#runs.set(runId, run)
    run.spans.push(span)
    if (run.spans.length > limits.workSpansMax) run.spans.splice(0, limits.workSpansMax / 10)
    addTotals(run.totals, span)
    if (this.#runs.size > limits.workRunsMax) this.#runs.delete(this.#runs.keys().next().value as RunId)
  }

  /** The reply of the node to this message will not come after all. */
  withdrawn(runId: RunId, messageId: string): void {
    const run = this.#runs.get(runId)
    const index = run?.spans.findLastIndex((span) => span.messageId === messageId) ?? -1
    const [span] = index < 0 ? [] : (run?.spans.splice(index, 1) ?? [])
    if (run && span) subtractFromTotals(run, span)
  }

  /** From the fetch of a message to its reply, in the newest run that has one of this node. */
  lastReplySecondsOf(nodeId: NodeId): number | undefined {
    const newestFirst = [...this.#runs.values()].reverse()
    return newestFirst.map(({ totals }) => totals.get(nodeId)?.lastSeconds).find((seconds) => seconds !== undefined)
  }

  of(runId: RunId): { readonly spans: readonly WorkSpan[]; readonly totals: ReadonlyMap<NodeId, NodeTotals> } {
    return this.#runs.get(runId) ?? { spans: [], totals: new Map() }
  }
}

function addTotals(totals: Map<NodeId, NodeTotals>, span: WorkSpan): void {
  const { nodeId, failed } = span
  const before = totals.get(nodeId)
  if (!before && totals.size >= limits.workNodesMax) return
  const { replies, failures, seconds } = before ?? noTotals
  const lastSeconds = secondsOf(span)
  totals.set(nodeId, {
    replies: replies + 1,
    failures: failures + (failed ? 1 : 0),
    seconds: seconds + lastSeconds,
    lastSeconds,
  })
}

function subtractFromTotals({ spans, totals }: RunWork, span: WorkSpan): void {
  const { nodeId, failed } = span
  const before = totals.get(nodeId)
  if (!before) return
  const last = spans.findLast((one) => one.nodeId === nodeId)
  totals.set(nodeId, {
    replies: before.replies - 1,
    failures: before.failures - (failed ? 1 : 0),
    seconds: before.seconds - secondsOf(span),
    lastSeconds: last ? secondsOf(last) : 0,
  })
}

function secondsOf({ fetchedAt, repliedAt }: WorkSpan): number {
  return fetchedAt === undefined ? 0 : Math.max(0, repliedAt - fetchedAt) / 1000
}
