import { create, toBinary } from '@bufbuild/protobuf'
import { DomainError } from '../../base/errors.ts'
import { sha256InTurns } from '../../base/hash-in-turns.ts'
import { type RunId, randomId, type SeriesId, superlinkNodeId, type TaskId } from '../../base/ids.ts'
import type { UserConfig } from '../../base/user-config.ts'
import { prepareValue } from '../../db/large-values.ts'
import { fuseConfig } from '../../fab/pyproject.ts'
import { readFab } from '../../fab/read-fab.ts'
import type { SimulationConfig } from '../../gen/flwr/proto/federation_config_pb.ts'
import { ContextSchema } from '../../gen/flwr/proto/message_pb.ts'
import { findFab, keepFab, prepareFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { noAccount } from '../nodes/node.ts'
import { resolveSettings } from '../simulation/federation-settings.ts'
import { encodeSettings } from '../simulation/settings-store.ts'
import type { PreparedCheckpoint } from './checkpoint-store.ts'
import { inheritCheckpoint } from './checkpoints.ts'
import { encodeConfig } from './run.ts'
import * as runStore from './run-store.ts'

export interface NewRun {
  readonly fab: Uint8Array
  readonly overrides: UserConfig
  readonly federation: string
  /** What the run wants otherwise than its federation, where runs are simulated. */
  readonly simulation: SimulationConfig | undefined
  /** What the ServerApp starts from; the caller disposes of it. */
  readonly checkpoint?: PreparedCheckpoint
  readonly owner: { readonly id: string; readonly name: string; readonly organization: string }
}

/** Starts a run: the app is checked first, then run, series, context and primary task appear together. */
export async function startRun(
  ctx: Pick<SuperlinkContext, 'db' | 'clock' | 'tasks' | 'log' | 'simulation' | 'progress' | 'events' | 'quotas'>,
  request: NewRun,
): Promise<{ runId: RunId; seriesId: SeriesId }> {
  const { manifest } = await readFab(request.fab)
  const fabHash = await sha256InTurns(request.fab)
  fuseConfig(manifest.config, request.overrides)
  const simulation = ctx.simulation && (await resolveSettings(ctx, ctx.simulation.machine, request))
  const runId = randomId<RunId>()
  const seriesId = randomId<SeriesId>()
  await using fab = await prepareFab(ctx.db, fabHash, request.fab)
  await using context = await prepareValue(
    ctx.db,
    toBinary(ContextSchema, create(ContextSchema, { runId, nodeId: superlinkNodeId, seriesId, state: {} })),
  )
  const isStarted = await ctx.db.transaction(async (tx, afterCommit) => {
    await ctx.quotas.ensureRoomForRun(tx)
    if (!(await keepFab(tx, fabHash, fab))) return false
    const taskId = await ctx.tasks.create(tx, afterCommit, {
      runId,
      type: 'flwr-serverapp',
      fabHash,
      taskId: randomId<TaskId>(),
    })
    await runStore.upsertSeries(tx, {
      series_id: seriesId,
      federation: request.federation,
      context,
    })
    await runStore.insert(tx, {
      run_id: runId,
      series_id: seriesId,
      primary_task_id: taskId,
      fab_id: manifest.fabId,
      fab_version: manifest.version,
      fab_hash: fabHash,
      override_config: encodeConfig(request.overrides, manifest.config),
      federation: request.federation,
      owner_aid: request.owner.id,
      owner_name: request.owner.name,
      owner_organization: request.owner.organization,
      bytes_sent: 0,
      bytes_recv: 0,
      clientapp_runtime: 0,
      log_bytes: 0,
      simulation: simulation ? encodeSettings(simulation) : null,
    })
    if (request.checkpoint) await inheritCheckpoint(ctx, tx, runId, request.checkpoint)
    const { owner } = request
    await ctx.events.record(
      tx,
      afterCommit,
      'run.started',
      {
        sentence: `${owner.id === noAccount.id ? 'A user' : owner.name} has started run ${runId} of ${manifest.fabId} ${manifest.version}.`,
        run: String(runId),
        app: manifest.fabId,
        version: manifest.version,
        federation: request.federation,
        account: owner.name,
        organization: owner.organization,
      },
      { aid: owner.id, organization: owner.organization },
    )
    afterCommit(() => ctx.progress.outcomes.started(runId))
    return true
  })
  // The last run with this FAB was removed a moment ago, and the FAB with it.
  if (!isStarted) return startRun(ctx, request)
  ctx.log.info(simulation ? 'Created simulation run' : 'Created serverapp run', {
    run: runId,
    app: manifest.fabId,
    version: manifest.version,
    owner: request.owner.name,
    ...(simulation ? { virtualNodes: simulation.numSupernodes } : {}),
  })
  return { runId, seriesId }
}

/** The app of a task, by its component reference, for its launcher. */
export async function findComponent(ctx: Pick<SuperlinkContext, 'db'>, fabHash: string): Promise<string | undefined> {
  const known = components.get(fabHash)
  if (known !== undefined) return known
  const content = await findFab(ctx.db.read, fabHash)
  if (!content) return undefined
  const { manifest } = await readFab(content)
  if (components.size >= componentsMax) components.clear()
  components.set(fabHash, manifest.components.serverapp)
  return manifest.components.serverapp
}

const components = new Map<string, string>()
const componentsMax = 1000

export function ensureFabGiven(fab: Uint8Array | undefined): Uint8Array {
  if (fab && fab.length > 0) return fab
  throw new DomainError('fab-invalid', 'Invalid FAB: the request holds none.')
}
