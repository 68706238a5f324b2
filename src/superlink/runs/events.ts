import { lookAgain } from '../../base/bell.ts'
import { isoTimestamp } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import type { RunId } from '../../base/ids.ts'
import type { SuperlinkContext } from '../context.ts'
import * as messageStore from '../delivery/message-store.ts'
import { findRun } from './run.ts'

/** What the SuperLink itself says about the progress of a run, for those who watch it. */
export const repliesEvent = 'trellis.replies'

export interface RunEvent {
  readonly id: bigint
  readonly timestamp: string
  readonly runId: bigint
  readonly taskId: bigint
  readonly event: string
  /** JSON */
  readonly data: string
}

/**
 * How many replies the messages under way have, each time that changes, at most every 100 ms, until the run has finished.
 * Answered replies are forgotten once the ServerApp has them, so the counts are of the current phase.
 */
export async function* followEvents(
  ctx: Pick<SuperlinkContext, 'db' | 'bells' | 'clock'>,
  runId: RunId,
  signal: AbortSignal,
): AsyncGenerator<RunEvent> {
  const run = await findRun(ctx.db.read, runId)
  if (!run) throw new DomainError('run-not-found')
  let id = 0n
  let last = ''
  while (!signal.aborted) {
    const look = async (): Promise<{ finished: boolean; data: string } | undefined> => {
      const finished = (await findRun(ctx.db.read, runId))?.task.status === 'finished'
      const { instructions, replies, failures } = await messageStore.countOfRun(ctx.db.read, runId)
      const data = JSON.stringify({ asked: instructions, replied: replies, failed: failures })
      return finished || data !== last ? { finished, data } : undefined
    }
    const found = await lookAgain(ctx.bells.runs, runId, look, { waitMs: 30_000, signal })
    if (!found) continue
    if (found.finished) return
    last = found.data
    id += 1n
    yield {
      id,
      timestamp: isoTimestamp(ctx.clock.now()),
      runId,
      taskId: run.task.taskId,
      event: repliesEvent,
      data: found.data,
    }
    await ctx.clock.sleep(100, signal).catch(() => {})
  }
}
