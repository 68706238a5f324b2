import type { SuperlinkContext } from '../context.ts'
import { isRunOpen } from '../runs/run.ts'
import * as life from './life.ts'
import { forgetRunMessages } from './replies.ts'
import * as runMessages from './run-messages.ts'

/**
 * At the start of a SuperLink: forgets what no run needs, which is the messages of runs that have ended (earlier releases
 * kept those that were pushed during the end) and objects announced for replies that a crash cut off. Offers again what nodes
 * received and did not confirm.
 */
export async function recoverDelivery(ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'log'>): Promise<void> {
  await ctx.db.transaction(async (tx, afterCommit) => {
    for (const runId of await runMessages.listRuns(tx))
      if (!(await isRunOpen(tx, runId))) await forgetRunMessages(ctx, tx, afterCommit, { runId, hasEnded: true })
    const messages = await life.giveBackAtStart(tx)
    if (messages > 0) ctx.log.info('Messages that no SuperNode has confirmed are offered again', { messages })
    const orphans = await runMessages.listOrphans(tx)
    if (orphans.length === 0) return
    await ctx.objects.release(tx, afterCommit, orphans)
    ctx.log.info('Objects of replies that were cut off are removed', { replies: orphans.length })
  })
}
