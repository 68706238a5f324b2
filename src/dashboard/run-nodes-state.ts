import { oneLine } from '../base/printable.ts'
import type { RunNode, RunNodeSpan, ShowRunNodesResponse } from '../gen/flwr/proto/control_pb.ts'
import type { PhaseView, RunNodesState } from '../web/model.ts'

/** So much is sent to a page: the newest phases, the slowest replies of each, and the nodes that need attention. */
const phasesShown = 5
const spansShown = 60
const nodesShown = 200

/** Returns what the page shows of the nodes of a run. */
export function runNodesState({ nodes, spans }: ShowRunNodesResponse): RunNodesState {
  const names = new Map(nodes.map(({ nodeId, name }) => [nodeId, oneLine(name)]))
  const byPhase = Map.groupBy(spans, ({ phase }) => phase)
  const phases = [...byPhase].toSorted(([a], [b]) => b - a).slice(0, phasesShown)
  return {
    nodes: nodes
      .toSorted(byNeed)
      .slice(0, nodesShown)
      .map((node) => ({
        id: node.nodeId.toString(),
        name: oneLine(node.name),
        replies: Number(node.replies),
        failures: Number(node.failures),
        lastSeconds: node.lastSeconds,
        meanSeconds: meanSeconds(node),
        state: oneLine(node.state),
      })),
    phases: phases.map(([number, all]) => phaseView(number, all, names)),
  }
}

function phaseView(number: number, spans: readonly RunNodeSpan[], names: ReadonlyMap<bigint, string>): PhaseView {
  const slowest = spans.toSorted((a, b) => b.repliedAt - a.repliedAt)
  return {
    label: oneLine(slowest[0]?.label ?? '') || `messages ${number}`,
    startedAt: spans.reduce((first, { askedAt }) => Math.min(first, askedAt), Number.POSITIVE_INFINITY) * 1000,
    endedAt: (slowest[0]?.repliedAt ?? 0) * 1000,
    spans: slowest.slice(0, spansShown).map(({ nodeId, askedAt, fetchedAt, repliedAt, failed }) => ({
      id: nodeId.toString(),
      name: names.get(nodeId) ?? '',
      askedAt: askedAt * 1000,
      fetchedAt: fetchedAt * 1000,
      repliedAt: repliedAt * 1000,
      failed,
    })),
    more: Math.max(0, spans.length - spansShown),
  }
}

/** Sorts those first that have not replied, then the slowest. */
export function byNeed(a: RunNode, b: RunNode): number {
  return Number(b.state !== '') - Number(a.state !== '') || b.lastSeconds - a.lastSeconds
}

export function meanSeconds({ seconds, replies }: RunNode): number {
  return replies > 0n ? seconds / Number(replies) : 0
}
