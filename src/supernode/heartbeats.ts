import type { SupernodeContext } from './context.ts'
import { fleet, heartbeatIntervalSeconds } from './fleet.ts'

/**
 * Tells the SuperLink that this node is there, until the signal. A pull that our SuperLink takes for a heartbeat saves the
 * next one. Throws what no waiting would mend.
 */
export async function sendHeartbeats(ctx: Pick<SupernodeContext, 'fleet' | 'clock' | 'signal'>): Promise<void> {
  const { clock, signal } = ctx
  const intervalMs = heartbeatIntervalSeconds * 1000
  let beatAt = clock.now()
  while (!signal.aborted) {
    const restMs = Math.max(beatAt, ctx.fleet.pullCountedAt) + intervalMs - clock.now()
    const isUrgent = await Promise.race([
      clock.sleep(Math.max(restMs, 0), signal).then(() => false),
      ctx.fleet.heartbeatDue().then(() => true),
    ])
    if (!isUrgent && ctx.fleet.pullCountedAt + intervalMs > clock.now()) continue
    const node = { nodeId: ctx.fleet.nodeId }
    const { message } = await ctx.fleet.call(fleet.sendNodeHeartbeat, {
      node,
      heartbeatInterval: heartbeatIntervalSeconds,
    })
    beatAt = clock.now()
    if (!message.success) await ctx.fleet.rejoin(node.nodeId)
  }
}
