import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { SuperlinkContext } from '../context.ts'
import { findWait, instant } from './find-wait.ts'
import { findRun } from './run.ts'
import type { Wait } from './waits.ts'

type Ctx = Parameters<typeof findWait>[0] & Pick<SuperlinkContext, 'tasks' | 'bells'>

/** Background job: finds out every few seconds what the runs wait for, for metrics and for programs that follow them. */
export async function watchWaits(ctx: Ctx, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await lookAtWaits(ctx)
    await ctx.clock.sleep(limits.waitLookEveryMs, signal).catch(() => {})
  }
}

export async function lookAtWaits(ctx: Ctx): Promise<void> {
  const waits = new Map<RunId, Wait>()
  for (const runId of await ctx.tasks.listOpenRuns('flwr-serverapp')) {
    const run = await findRun(ctx.db.read, runId)
    const wait = run && (await findWait(ctx, run))
    if (wait) waits.set(runId, wait)
  }
  const changed = ctx.progress.waits.replace(waits, ctx.clock.now())
  const notices = new Map([...waits].filter(([runId]) => findNotice(ctx, runId) !== undefined))
  for (const runId of new Set([...changed, ...ctx.progress.waits.notice(notices)])) ctx.bells.runs.ring(runId)
}

/**
 * Returns the wait that programs following the run should know. That nodes work is news only after minutes; a full disk has a
 * note of its own.
 */
export function findNotice({ progress, clock }: Pick<Ctx, 'progress' | 'clock'>, runId: RunId): Wait | undefined {
  const wait = progress.waits.find(runId)
  if (!wait || wait.kind === 'disk') return undefined
  const afterMs = wait.remedy === '' ? limits.workNoticeMs : limits.waitNoticeMs
  return clock.now() - wait.sinceAt < afterMs ? undefined : wait
}

export function noticeText({ what, sinceAt, remedy }: Wait): string {
  return `\n[Since ${instant(sinceAt)} this run waits for ${what}.${remedy === '' ? '' : ` ${remedy}`}]\n`
}
