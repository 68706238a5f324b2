import type { SuperlinkContext } from '../context.ts'
import { expireNodes } from '../nodes/nodes.ts'
import * as messageStore from './message-store.ts'

/** Background job: notifies calls that wait for a reply when a node goes silent or an instruction expires. */
export async function watchDeadlines(ctx: SuperlinkContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    using subscription = ctx.bells.deadlines.subscribe('deadlines')
    const nextSilence = await expireNodes(ctx)
    const nextExpiry = await messageStore.nextExpiry(ctx.db.read, ctx.clock.now())
    const waitMs = Math.min(nextSilence, nextExpiry) - ctx.clock.now()
    await subscription.wait(Math.min(Math.max(waitMs + 1, minPauseMs), maxPauseMs), signal)
    if (waitMs <= maxPauseMs) ctx.bells.replies.ringAll()
    // Heartbeats ring often; a deadline that is a moment late does no harm.
    await ctx.clock.sleep(minPauseMs, signal).catch(() => {})
  }
}

const minPauseMs = 250
const maxPauseMs = 60_000
