import type { MessageInitShape } from '@bufbuild/protobuf'
import { isoTimestamp } from '../../base/clock.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { ShowRunNodesResponseSchema } from '../../gen/flwr/proto/control_pb.ts'
import type { SuperlinkContext } from '../context.ts'
import { listMissing } from '../runs/find-wait.ts'

type Ctx = Parameters<typeof listMissing>[0] & Pick<SuperlinkContext, 'knownNodes'>

/** Describes what the nodes of a run do and did; those first whose replies are missing. */
export async function describeRunNodes(
  ctx: Ctx,
  runId: RunId,
): Promise<MessageInitShape<typeof ShowRunNodesResponseSchema>> {
  const { spans, totals } = ctx.progress.work.of(runId)
  const missing = new Map((await listMissing(ctx, runId)).map((state) => [state.nodeId, state]))
  const nodes = []
  for (const nodeId of new Set([...missing.keys(), ...totals.keys()])) {
    const { replies = 0, failures = 0, seconds = 0, lastSeconds = 0 } = totals.get(nodeId) ?? {}
    const counts = { replies: BigInt(replies), failures: BigInt(failures), seconds, lastSeconds }
    nodes.push({ nodeId, name: await nameOf(ctx, nodeId), ...counts, state: missing.get(nodeId)?.text ?? '' })
  }
  return {
    nodes,
    spans: spans.map(({ askedAt, fetchedAt = 0, repliedAt, ...span }) => ({
      ...span,
      askedAt: askedAt / 1000,
      fetchedAt: fetchedAt / 1000,
      repliedAt: repliedAt / 1000,
    })),
    now: isoTimestamp(ctx.clock.now()),
  }
}

async function nameOf({ knownNodes, simulation }: Ctx, nodeId: NodeId): Promise<string> {
  const node = simulation ? undefined : await knownNodes.find(nodeId)
  return node?.name ?? node?.identity ?? ''
}
