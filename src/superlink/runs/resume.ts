import type { RunId, SeriesId } from '../../base/ids.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { getCheckpointOf } from './checkpoints.ts'
import type { Run } from './run.ts'
import { type NewRun, startRun } from './start.ts'

/** Starts the app of a failed or stopped run again, as a new run from its last checkpoint. Throws `run-not-resumable`. */
export async function resumeRun(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'tasks' | 'log' | 'simulation' | 'progress' | 'events' | 'quotas'>,
  run: Run,
  owner: NewRun['owner'],
): Promise<{ runId: RunId; seriesId: SeriesId }> {
  const checkpoint = await getCheckpointOf(ctx.db.read, run)
  const { overrideConfig: overrides, federation, simulation } = run
  const fab = await getFab(ctx.db.read, run.fabHash)
  return startRun(ctx, { fab, overrides, federation, simulation, checkpoint, owner })
}
