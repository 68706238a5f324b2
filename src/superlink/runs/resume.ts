import type { RunId, SeriesId } from '../../base/ids.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { prepareResumption } from './checkpoints.ts'
import type { Run } from './run.ts'
import { type NewRun, startRun } from './start.ts'

/** Starts the app of a failed or stopped run again, as a new run from its last checkpoint. Throws `run-not-resumable`. */
export async function resumeRun(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'tasks' | 'log' | 'simulation' | 'progress' | 'events' | 'quotas'>,
  run: Run,
  owner: NewRun['owner'],
): Promise<{ runId: RunId; seriesId: SeriesId }> {
  await using checkpoint = await prepareResumption(ctx, run)
  const { overrideConfig: overrides, federation, simulation } = run
  const fab = await getFab(ctx.db.read, run.fabHash)
  return await startRun(ctx, { fab, overrides, federation, simulation, checkpoint, owner })
}
