import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import { forgetRunMessages } from './replies.ts'
import * as runMessages from './run-messages.ts'

/**
 * Forgets, at the start of a SuperLink, what no run needs: the messages of runs that have ended (earlier releases kept those
 * that were pushed during the end), and objects announced for replies that a crash cut off.
 */
export async function recoverDelivery(ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'log'>): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    for (const runId of await runMessages.listRuns(tx))
      if (!(await isRunOpen(tx, runId))) await forgetRunMessages(ctx, tx, afterCommit, runId)
    const orphans = await runMessages.listOrphans(tx)
    if (orphans.length === 0) return
    await ctx.objects.release(tx, afterCommit, orphans)
    ctx.log.info('Objects of replies that were cut off are removed', { replies: orphans.length })
  })
}
