import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import {
  type CoreOptions,
  certificatePeer,
  emptyFab,
  openConnection,
  SuperlinkCore,
} from '../../../test/harness/superlink-core.ts'
import { isoTimestamp } from '../../base/clock.ts'
import { limits } from '../../base/limits.ts'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import { generateNodeKey } from '../../identity/node-key.ts'
import { appendLog } from '../runs/logs.ts'
import { createControlService } from './control.ts'

const control = Control.method
const fab = () => ({ fab: { content: emptyFab() } })

async function setUp(options: CoreOptions = {}) {
  const core = await SuperlinkCore.start(options)
  const service = createControlService(core.ctx)
  const client = new InMemoryClient([service])
  const as = (identity: string) =>
    new InMemoryClient([service], { connection: openConnection(2, certificatePeer(identity)).connection })
  return { core, client, as, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a run is started, listed, followed and stopped', async () => {
  await using world = await setUp()
  const { core, client } = world
  const { runId = 0n } = await client.call(control.startRun, fab())
  assert.deepEqual(Object.keys((await client.call(control.listRuns, {})).runDict), [runId.toString()])
  await appendLog(core.ctx, runId as Parameters<typeof appendLog>[1], ['hello\n'])
  const log = client.stream(control.streamLogs, { runId })
  assert.equal((await log.next()).value?.logOutput, 'hello\n')
  assert.equal((await client.call(control.stopRun, { runId })).success, true)
  assert.equal((await log.next()).done, true)
  const { runDict } = await client.call(control.listRuns, { runId })
  assert.deepEqual(runDict[runId.toString()]?.status?.subStatus, 'stopped')
  await assert.rejects(client.call(control.stopRun, { runId }), { code: 'run-finished' })
})

test('a caller is told its identity, permissions and certificate; without certificates all callers are one account', async () => {
  await using world = await setUp()
  const certificate = certificatePeer('alice', {
    roles: new Set(['cli']),
    runs: 'organization',
    organization: 'Hospital A',
  })
  const alice = new InMemoryClient([createControlService(world.core.ctx)], {
    connection: openConnection(2, certificate).connection,
  })
  const { now, ...told } = await alice.call(control.showCaller, {})
  assert.equal(now, isoTimestamp(world.core.clock.now()))
  assert.deepEqual(
    { ...told, $typeName: undefined },
    {
      $typeName: undefined,
      authMethod: 'certificate',
      accountName: 'alice',
      organization: 'Hospital A',
      roles: ['cli'],
      runScope: 'organization',
      certificateSerial: certificate.serial,
      certificateNotAfter: certificate.notAfter / 1000,
    },
  )
  const { authMethod, runScope, roles } = await world.client.call(control.showCaller, {})
  assert.deepEqual({ authMethod, runScope, roles }, { authMethod: 'none', runScope: 'all', roles: ['cli', 'admin'] })
})

test('runs are listed newest first, as many as are asked for', async () => {
  await using world = await setUp()
  const { core, client } = world
  const ids: string[] = []
  for (let run = 0; run < 4; run++) {
    ids.unshift(String((await client.call(control.startRun, fab())).runId))
    core.clock.advance(1000)
  }
  const list = async (page: { limit?: bigint; skip?: bigint }) =>
    new Set(Object.keys((await client.call(control.listRuns, page)).runDict))
  assert.deepEqual(await list({}), new Set(ids))
  assert.deepEqual(await list({ limit: 2n }), new Set(ids.slice(0, 2)))
  assert.deepEqual(await list({ limit: 2n, skip: 1n }), new Set(ids.slice(1, 3)))
  assert.deepEqual(await list({ skip: 3n }), new Set(ids.slice(3)))
  assert.deepEqual(await list({ limit: 2n ** 63n }), new Set(ids))
})

test('what cannot be run is refused with its reason, and leaves no run', async () => {
  await using world = await setUp()
  const { client } = world
  const refused = (request: object, code: string) => assert.rejects(client.call(control.startRun, request), { code })
  await refused({}, 'fab-invalid')
  await refused({ ...fab(), appSpec: '@flower/app' }, 'unsupported')
  await refused({ ...fab(), federation: 'elsewhere' }, 'federation-not-found')
  const tooLarge = { fab: { content: new Uint8Array(limits.fabBytesMax + 1) } }
  assert.equal((await client.call(control.startRun, tooLarge)).runId, undefined)
  assert.deepEqual((await client.call(control.listRuns, {})).runDict, {})
})

test('runs that never were are not found, whatever is asked of them', async () => {
  await using world = await setUp()
  const { client } = world
  const unknown = { runId: 5n }
  const code = 'run-not-found'
  await assert.rejects(client.call(control.stopRun, unknown), { code })
  await assert.rejects(client.call(control.listRuns, unknown), { code })
  await assert.rejects(client.call(control.showRunNodes, unknown), { code })
  await assert.rejects(client.stream(control.streamLogs, unknown).next(), { code })
  await assert.rejects(client.stream(control.streamRunEvents, unknown).next(), { code })
})

test('an operator registers keys of NIST curves, sees the nodes, and ends them', async () => {
  await using world = await setUp()
  const { client } = world
  const { publicKeyPem: publicKey } = generateNodeKey()
  await assert.rejects(client.call(control.registerNode, { publicKey: Buffer.from('no key') }), {
    code: 'public-key-invalid',
  })
  const { nodeId = 0n } = await client.call(control.registerNode, { publicKey, name: 'Berlin' })
  await assert.rejects(client.call(control.registerNode, { publicKey }), { code: 'public-key-in-use' })
  const list = async () =>
    (await client.call(control.listNodes, {})).nodesInfo.map(({ name, status }) => [name, status])
  assert.deepEqual(await list(), [['Berlin', 'registered']])
  await client.call(control.unregisterNode, { nodeId })
  assert.deepEqual(await list(), [['Berlin', 'unregistered']])
  await assert.rejects(client.call(control.unregisterNode, { nodeId: 3n }), { code: 'node-not-owned' })
})

test('under mutual TLS a caller needs a certificate with the role, and its identity owns the run', async () => {
  await using world = await setUp({ settings: { requireCertificates: true } })
  const { client, as } = world
  await assert.rejects(client.call(control.startRun, fab()), { code: 'no-certificate' })
  const { runId = 0n } = await as('alice').call(control.startRun, fab())
  const { runDict } = await as('alice').call(control.listRuns, {})
  assert.equal(runDict[runId.toString()]?.accountName, 'alice')
  assert.deepEqual((await as('bob').call(control.listRuns, {})).runDict, {})
})

test('the one federation is shown with its members, nodes and runs, and cannot be managed', async () => {
  await using world = await setUp()
  const { core, client } = world
  const nodeId = await core.join('node')
  const { runId } = await client.call(control.startRun, fab())
  const { federations } = await client.call(control.listFederations, {})
  assert.deepEqual(
    federations.map(({ name, simulation }) => [name, simulation]),
    [['@none/default', false]],
  )
  const { federation } = await client.call(control.showFederation, { federationName: '@none/default' })
  assert.deepEqual(
    federation?.nodes.map((node) => node.nodeId),
    [nodeId],
  )
  assert.deepEqual(
    federation?.runs.map((run) => run.runId),
    [runId],
  )
  await assert.rejects(client.call(control.showFederation, { federationName: 'x' }), { code: 'federation-not-member' })
  await assert.rejects(client.call(control.createFederation, {}), { code: 'no-federation-management' })
  await assert.rejects(client.call(control.configureSimulationFederation, {}), { code: 'federation-not-found' })
})

test('a SuperLink without accounts says how clients log in: not at all', async () => {
  await using world = await setUp()
  const { client } = world
  assert.equal((await client.call(control.getLoginDetails, {})).authnType, 'noop')
  await assert.rejects(client.call(control.getAuthTokens, {}), { code: 'no-account-authentication' })
  await assert.rejects(client.call(control.pullArtifacts, {}), { code: 'no-artifact-provider' })
})

test('a log and the events of a run end for an account whose policy no longer shows that run', async () => {
  await using world = await setUp()
  const { core, as } = world
  const service = createControlService(core.ctx)
  const { runId = 0n } = await as('alice').call(control.startRun, fab())
  await appendLog(core.ctx, runId as Parameters<typeof appendLog>[1], ['hello\n'])
  let runs: 'all' | 'own' = 'all'
  const { connection } = openConnection(2, certificatePeer('bob'))
  const judged = Object.create(connection, { peer: { get: () => ({ ...certificatePeer('bob'), runs }) } })
  const bob = new InMemoryClient([service], { connection: judged })
  const log = bob.stream(control.streamLogs, { runId })
  assert.equal((await log.next()).value?.logOutput, 'hello\n')
  const rest = assert.rejects(log.next(), { code: 'run-not-found' })
  const events = assert.rejects(bob.stream(control.streamRunEvents, { runId }).next(), { code: 'run-not-found' })
  runs = 'own'
  core.ctx.bells.runs.ringAll()
  await Promise.all([rest, events])
})
