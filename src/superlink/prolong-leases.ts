import type { SuperlinkContext } from './context.ts'
import { prolongOnline } from './nodes/nodes.ts'

/** Gives apps and SuperNodes a whole lease, after a time without storage and after a jump of the clock. */
export async function prolongLeases(ctx: SuperlinkContext): Promise<void> {
  await ctx.tasks.recover('paused')
  await prolongOnline(ctx)
}
