import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { emptyFab, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { writeApp } from '../../../test/harness/write-app.ts'
import type { RunId } from '../../base/ids.ts'
import type { UserConfig } from '../../base/user-config.ts'
import { configOf } from '../../dashboard/views.ts'
import { buildFab } from '../../fab/bundle.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'
import { RunSchema } from '../../gen/flwr/proto/run_pb.ts'
import { getFab } from '../apps/fabs.ts'
import { describeFederation } from '../federations/federation.ts'
import { configureFederation } from '../simulation/federation-settings.ts'
import { ensureRunRunning, findRun, type Run, runToView, runToWire } from './run.ts'
import { startRun } from './start.ts'

const owner = { id: 'me', name: 'Me', organization: 'here' }
const request = { overrides: {}, federation: '@none/default', simulation: undefined, owner }

test('a run starts with its app, its owner, its overrides and one task that waits for a launcher', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await startRun(core.ctx, { ...request, fab: emptyFab() })
  const run = await findRun(core.ctx.db.read, runId)
  assert.deepEqual(
    [run?.fabId, run?.fabVersion, run?.ownerName, run?.ownerOrganization, run?.task.status],
    ['test/coreapp', '1.0.0', 'Me', 'here', 'pending'],
  )
  assert.equal((await core.ctx.tasks.acquireOfRun('flwr-serverapp', runId))?.task.taskId, run?.task.taskId)
})

test('users see the configuration of the app beside the overrides of the run, whatever its keys, and of a very long one a note', async () => {
  await using core = await SuperlinkCore.start()
  using directory = temporaryDirectory()
  const configured = (config: string): Uint8Array =>
    buildFab(writeApp(directory.file('configured'), { server: '', client: '', config })).bytes
  const shown = async (fab: Uint8Array, overrides: UserConfig = { lr: 0.5 }) => {
    const { runId } = await startRun(core.ctx, { ...request, fab, overrides })
    const run = (await findRun(core.ctx.db.read, runId)) as Run
    assert.deepEqual([run.overrideConfig, 'appConfig' in runToWire(run)], [overrides, false])
    return configOf(create(RunSchema, runToView(run)))
  }
  assert.deepEqual(await shown(configured('lr = 0.1\nepochs = 3')), { epochs: '3', lr: '0.5 (app: 0.1)' })
  assert.deepEqual(await shown(configured(`lr = 0.1\nlong = "${'x'.repeat(70_000)}"`)), {
    'configuration of the app': 'too long to be shown',
    lr: '0.5',
  })
  const inherited = configured('constructor = 1\ntoString = "x"')
  assert.deepEqual(await shown(inherited, {}), { constructor: '1', toString: 'x' })
})

test('two runs of one app keep it once, and an app that is not there is refused', async () => {
  await using core = await SuperlinkCore.start()
  for (let run = 0; run < 2; run++) await startRun(core.ctx, { ...request, fab: emptyFab() })
  const fabs = await core.ctx.db.read.selectFrom('fab').select('fab_hash').execute()
  assert.equal(fabs.length, 1)
  assert.deepEqual(Buffer.from(await getFab(core.ctx.db.read, fabs[0]?.fab_hash ?? '')), Buffer.from(emptyFab()))
  await assert.rejects(getFab(core.ctx.db.read, 'none'), { code: 'fab-not-visible' })
})

test('a run that cannot start leaves nothing', async () => {
  await using core = await SuperlinkCore.start()
  await assert.rejects(startRun(core.ctx, { ...request, fab: Buffer.from('no zip') }), { code: 'fab-invalid' })
  await assert.rejects(startRun(core.ctx, { ...request, fab: emptyFab(), overrides: { unknown: 1n } }), {
    code: 'run-config-invalid',
  })
  for (const table of ['run', 'task', 'fab', 'series'] as const)
    assert.deepEqual(await core.ctx.db.read.selectFrom(table).selectAll().execute(), [], table)
})

test('what a run may not do is said with the status that Flower names', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await startRun(core.ctx, { ...request, fab: emptyFab() })
  const { read } = core.ctx.db
  await assert.rejects(ensureRunRunning(read, runId), { detail: 'Run is pending.' })
  await core.stop(runId)
  await assert.rejects(ensureRunRunning(read, runId), { detail: 'Run is finished. Stopped by user.' })
  await assert.rejects(ensureRunRunning(read, 3n as RunId), { detail: 'Run ID not found: 3' })
})

test('a federation says whether its nodes are simulated, and how; runs may want it otherwise', async () => {
  await using real = await SuperlinkCore.start()
  assert.deepEqual(await describeFederation(real.ctx), {
    name: '@none/default',
    description: 'A federation for testing and development purposes.',
    archived: false,
    simulation: false,
  })
  await using simulated = await SuperlinkCore.start({ simulatedCpus: 8 })
  const { ctx } = simulated
  const machine = ctx.simulation?.machine ?? { cpus: 0, gpus: 0 }
  const settings = (numSupernodes: number) => create(SimulationConfigSchema, { numSupernodes })
  await configureFederation(ctx, machine, '@none/default', settings(5))
  assert.equal((await describeFederation(ctx)).config?.numSupernodes, 5)
  const usual = await simulated.run()
  const larger = await simulated.run({ simulation: settings(9) })
  const counts = [usual, larger].map(async ({ runId }) => (await simulated.fleet?.listReachable(runId))?.length)
  assert.deepEqual(await Promise.all(counts), [5, 9])
})
