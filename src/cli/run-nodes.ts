import { byNeed, meanSeconds } from '../dashboard/run-nodes-state.ts'
import type { ShowRunNodesResponse } from '../gen/flwr/proto/control_pb.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import type { ControlClient } from './connect.ts'
import { float, type Json } from './output.ts'
import { type Column, table } from './table.ts'
import { durationText } from './units.ts'

/** Nodes that are shown by name; more would bury the run that they belong to. */
const nodesShown = 50

/**
 * Returns what the nodes of a run do and did; `undefined` if the SuperLink cannot say. Those of Flower refuse an unknown method in
 * several ways (1.29 as an internal error), and the run itself was found before.
 */
export async function findRunNodes(
  client: Pick<ControlClient, 'showRunNodes'>,
  runId: bigint,
): Promise<ShowRunNodesResponse | undefined> {
  try {
    return await client.showRunNodes({ runId })
  } catch (error) {
    if (error instanceof RpcError) return undefined
    throw error
  }
}

/** Returns a table of the nodes, those first that have not replied, then the slowest. Empty if there are none. */
export function runNodesTable({ nodes }: ShowRunNodesResponse, width: number): string {
  if (nodes.length === 0) return ''
  const named = nodes.some(({ name }) => name !== '')
  const header: Column[] = [
    { title: 'Node ID', isId: true, rank: named ? 4 : 0 },
    ...(named ? [{ title: 'Name' }] : []),
    { title: 'Replies', rank: 1 },
    { title: 'Errors', rank: 3 },
    { title: 'Last Took', rank: 2 },
    { title: 'Mean', rank: 5 },
    { title: 'Now', isFreeText: true },
  ]
  const rows = nodes
    .toSorted(byNeed)
    .slice(0, nodesShown)
    .map((node) => [
      node.nodeId.toString(),
      ...(named ? [node.name] : []),
      node.replies.toString(),
      node.failures.toString(),
      node.replies > 0n ? secondsText(node.lastSeconds) : '',
      node.replies > 0n ? secondsText(meanSeconds(node)) : '',
      node.state || 'has replied',
    ])
  const more = nodes.length > nodesShown ? [`… and ${nodes.length - nodesShown} more`] : []
  return [table(header, rows, width), ...more].join('\n')
}

export function runNodesToJson({ nodes }: ShowRunNodesResponse): Json {
  return nodes.map((node) => ({
    'node-id': node.nodeId.toString(),
    name: node.name || null,
    replies: node.replies,
    errors: node.failures,
    'last-seconds': float(node.lastSeconds),
    'mean-seconds': float(meanSeconds(node)),
    state: node.state || 'has replied',
  }))
}

/** `0.4s` below ten seconds, where tenths matter. */
function secondsText(seconds: number): string {
  return seconds < 10 ? `${seconds.toFixed(1)}s` : durationText(seconds)
}
