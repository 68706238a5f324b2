import type { SupernodeContext } from './context.ts'
import { fleet, heartbeatIntervalSeconds } from './fleet.ts'

/** Tells the SuperLink that this node is there, until the signal. Throws what no waiting would mend. */
export async function sendHeartbeats(ctx: Pick<SupernodeContext, 'fleet' | 'clock' | 'signal'>): Promise<void> {
  const { clock, signal } = ctx
  while (!signal.aborted) {
    await Promise.race([clock.sleep(heartbeatIntervalSeconds * 1000, signal), ctx.fleet.heartbeatDue()])
    const node = { nodeId: ctx.fleet.nodeId }
    const { message } = await ctx.fleet.call(fleet.sendNodeHeartbeat, {
      node,
      heartbeatInterval: heartbeatIntervalSeconds,
    })
    if (!message.success) await ctx.fleet.rejoin(node.nodeId)
  }
}
