import type { SuperlinkContext } from './context.ts'
import { prolongOnline } from './nodes/nodes.ts'

/** Gives apps and SuperNodes a whole lease: nothing was prolonged while the disk was full. */
export async function prolongLeases(ctx: SuperlinkContext): Promise<void> {
  await ctx.tasks.recover('paused')
  await prolongOnline(ctx)
}
