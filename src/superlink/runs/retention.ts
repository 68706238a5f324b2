import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import * as taskStore from '../../tasks/task-store.ts'
import { removeFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import * as checkpointStore from './checkpoint-store.ts'
import * as eventStore from './event-store.ts'
import * as logStore from './log-store.ts'
import { findRun } from './run.ts'
import * as runStore from './run-store.ts'

/**
 * Removes runs that are over: their rows, logs, events and checkpoints, and apps that no other run has. A run that has not
 * finished is never removed.
 */

/** Which finished runs are kept: the newest so many, or those that ended within so many days; `undefined`: all. */
export type Retention = { readonly runs: number } | { readonly days: number } | undefined

type Ctx = Pick<SuperlinkContext, 'db' | 'clock' | 'log'>

const dayMs = 24 * 60 * 60_000

/** Background job. */
export async function watchRetention(ctx: Ctx, kept: Retention, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && kept) {
    await removeOldRuns(ctx, kept, signal)
    await ctx.clock.sleep(limits.retentionLookEveryMs, signal).catch(() => {})
  }
}

/** Removes the runs that are not to be kept, in a transaction each: other work goes on in between. */
export async function removeOldRuns(ctx: Ctx, kept: NonNullable<Retention>, signal?: AbortSignal): Promise<void> {
  let removed = 0
  for (;;) {
    const old = await taskStore.listFinishedRuns(ctx.db.read, {
      finishedBefore: 'days' in kept ? ctx.clock.now() - kept.days * dayMs : Number.MAX_SAFE_INTEGER,
      butNewest: 'runs' in kept ? kept.runs : 0,
    })
    for (const runId of old) {
      if (signal?.aborted) return
      await removeRun(ctx, runId)
      removed += 1
    }
    if (old.length < taskStore.finishedRunsPerLook) break
  }
  if (removed > 0) ctx.log.info('Removed finished runs that --keep-runs does not keep', { runs: removed })
}

async function removeRun({ db }: Ctx, runId: RunId): Promise<void> {
  await db.transaction(async (tx) => {
    const run = await findRun(tx, runId)
    if (run?.task.status !== 'finished') return
    while (await logStore.removeSome(tx, runId));
    while (await eventStore.removeSome(tx, runId));
    await checkpointStore.remove(tx, { runId })
    await runStore.remove(tx, run)
    await taskStore.removeOfRun(tx, runId)
    if (!(await runStore.hasFab(tx, run.fabHash))) await removeFab(tx, run.fabHash)
  })
}
