import { lookAgain } from '../../base/bell.ts'
import { isoTimestamp } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import type { RunId, TaskId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import * as taskStore from '../../tasks/task-store.ts'
import type { SuperlinkContext } from '../context.ts'
import * as eventStore from './event-store.ts'
import { appendNote } from './logs.ts'
import { ensureRunOpen, findRun, hasFinished } from './run.ts'

/** What the SuperLink itself reports on the progress of a run. */
export const repliesEvent = 'trellis.replies'
/** What our apps report: round, phase and metrics. */
const progressEvent = 'trellis.progress'

export interface RunEvent {
  /** Grows with each event that an app pushed; events of the SuperLink carry the id of the last of those. */
  readonly id: bigint
  readonly timestamp: string
  readonly runId: bigint
  readonly taskId: bigint
  readonly event: string
  /** JSON */
  readonly data: string
}

type Ctx = Pick<SuperlinkContext, 'db' | 'bells' | 'clock' | 'progress' | 'quotas'>

/**
 * Keeps what an app reports. Events that are too large, no JSON objects, or too many are left out: they only inform. Throws
 * `run-not-running` if the run has ended. `batch` is the number of the request, so that it is kept once.
 */
export async function appendEvents(
  ctx: Ctx,
  task: { runId: RunId; taskId: TaskId },
  events: readonly { event: string; data: string }[],
  batch = 0n,
): Promise<void> {
  const good = events.filter(
    ({ event, data }) => Buffer.byteLength(event) <= limits.eventNameBytesMax && isJsonObject(data),
  )
  if (good.length === 0) return
  await ctx.db.transaction(async (tx, afterCommit) => {
    await ensureRunOpen(tx, task.runId)
    if (!(await taskStore.noteBatch(tx, task.taskId, 'event_batch', batch))) return
    const { runEvents } = ctx.quotas.limits
    if ((await eventStore.count(tx, task.runId)) + good.length > runEvents) {
      if (!ctx.quotas.isFirstNote(task.runId)) return
      const note = `\n[Further events of this run are not kept: a run may have ${runEvents} (--quota-run-events of the SuperLink)]\n`
      return appendNote(ctx, tx, afterCommit, task.runId, note)
    }
    for (const { event, data } of good) await eventStore.insert(tx, { ...task, at: ctx.clock.now(), event, data })
    afterCommit(() => {
      for (const { event, data } of good) if (event === progressEvent) noteProgress(ctx, task.runId, data)
      ctx.bells.runs.ring(task.runId)
    })
  })
}

/**
 * Yields what the app reported after event `afterId`, and how many replies the messages under way have and which nodes are
 * late, each time that changes, at most every 100 ms, until the run has finished.
 *
 * @param check called before each event: throws if the follower may not see the run any more.
 */
export async function* followRunEvents(
  ctx: Ctx,
  runId: RunId,
  afterId: bigint,
  signal: AbortSignal,
  check: () => void = () => {},
): AsyncGenerator<RunEvent> {
  const run = await findRun(ctx.db.read, runId)
  if (!run) throw new DomainError('run-not-found')
  let id = afterId
  let lastCounts = ''
  while (!signal.aborted) {
    const look = async (): Promise<{ finished: boolean; events: RunEvent[]; counts: string } | undefined> => {
      check()
      const finished = await hasFinished(ctx.db.read, runId)
      const events = await eventStore.listAfter(ctx.db.read, runId, id)
      const counts = JSON.stringify(repliesOf(ctx, runId))
      return finished || events.length > 0 || counts !== lastCounts ? { finished, events, counts } : undefined
    }
    const found = await lookAgain(ctx.bells.runs, runId, look, { waitMs: 30_000, signal })
    if (!found) continue
    for (const event of found.events) {
      id = event.id
      yield event
    }
    if (found.finished) return
    if (found.counts !== lastCounts) {
      lastCounts = found.counts
      const timestamp = isoTimestamp(ctx.clock.now())
      yield { id, timestamp, runId, taskId: run.task.taskId, event: repliesEvent, data: found.counts }
    }
    await ctx.clock.sleep(100, signal).catch(() => {})
  }
}

function repliesOf({ progress }: Ctx, runId: RunId): object {
  const counts = progress.of(runId)
  const late = counts.replied < counts.asked ? progress.waits.lateNodes(runId) : []
  return { ...counts, ...(late.length > 0 ? { late } : {}) }
}

function noteProgress(ctx: Ctx, runId: RunId, data: string): void {
  const { round, phase } = JSON.parse(data) as { readonly round?: unknown; readonly phase?: unknown }
  if (typeof round === 'number' && typeof phase === 'string')
    ctx.progress.reported(runId, { round, phase }, ctx.clock.now())
}

function isJsonObject(text: string): boolean {
  if (Buffer.byteLength(text) > limits.eventBytesMax) return false
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
