import type { SuperlinkContext } from '../context.ts'
import { expireNodes } from '../nodes/nodes.ts'
import { nextExpiry as findNextExpiry } from './node-messages.ts'

/** Background job: notifies calls that wait for a reply when a node goes silent or an instruction expires. */
export async function watchDeadlines(ctx: SuperlinkContext, signal: AbortSignal): Promise<void> {
  let lookedAt = ctx.clock.now()
  while (!signal.aborted) {
    using subscription = ctx.bells.deadlines.subscribe('deadlines')
    const now = ctx.clock.now()
    const nextSilence = await expireNodes(ctx)
    // Since the last look: an instruction may have expired in the pause.
    const nextExpiry = await findNextExpiry(ctx.db.read, lookedAt)
    lookedAt = now
    const deadline = Math.min(nextSilence, nextExpiry)
    const waitMs = deadline - ctx.clock.now()
    await subscription.wait(Math.min(Math.max(waitMs + 1, minPauseMs), maxPauseMs), signal)
    // A heartbeat rings too, and is no reason to look at a reply.
    if (nextExpiry <= ctx.clock.now()) ctx.bells.replies.expired(ctx.clock.now())
    // Heartbeats ring often; a deadline that is a moment late does no harm.
    await ctx.clock.sleep(minPauseMs, signal).catch(() => {})
  }
}

const minPauseMs = 250
const maxPauseMs = 60_000
