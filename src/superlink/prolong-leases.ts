import type { SuperlinkContext } from './context.ts'
import { settleDoubts } from './delivery/instructions.ts'
import { prolongOnline } from './nodes/nodes.ts'

/**
 * Gives apps and SuperNodes a whole lease, after a time without storage and after a jump of the clock. The last commit before
 * such a time may have succeeded without a response, so without its effects: all waiting calls look again, and what is known of
 * nodes and runs is read again.
 */
export async function prolongLeases(ctx: SuperlinkContext): Promise<void> {
  await ctx.tasks.recover('paused')
  await prolongOnline(ctx)
  ctx.knownNodes.forgetAll()
  ctx.participants.forgetAll()
  await settleDoubts(ctx)
  await ctx.simulation?.fleet.recover()
  for (const bell of Object.values(ctx.bells)) bell.ringAll()
}
