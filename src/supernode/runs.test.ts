import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeMixedApp } from '../../test/harness/python-apps.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import type { NodeId, RunId } from '../base/ids.ts'
import { buildFab } from '../fab/bundle.ts'
import { GetFabResponseSchema } from '../gen/flwr/proto/fab_pb.ts'
import { GetRunResponseSchema } from '../gen/flwr/proto/run_pb.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { parseSupernodeConfig } from './config.ts'
import { type FleetClient, fleet } from './fleet.ts'
import { Runs } from './runs.ts'

test('what a ClientApp keeps outlives its run within a series, and ends with it elsewhere', async () => {
  using directory = temporaryDirectory()
  const source = 'export const app = 1\n'
  const { bytes, hash } = buildFab(writeApp(directory.file('app'), { server: source, client: source }))
  const seriesOf = new Map([
    [1n, 7n],
    [2n, 7n],
    [3n, 8n],
    [4n, 0n],
    [5n, 0n],
  ])
  const client = {
    nodeId: 9n as NodeId,
    async call(method: unknown, { runId }: { runId: bigint }) {
      const run = { runId, fabHash: hash, seriesId: seriesOf.get(runId) ?? 0n }
      return {
        waited: false,
        message:
          method === fleet.getRun
            ? create(GetRunResponseSchema, { run })
            : create(GetFabResponseSchema, { fab: { hashStr: hash, content: bytes } }),
      }
    },
  }
  const runs = new Runs(client as unknown as FleetClient, { place: 'left' })
  const seen = async (id: bigint): Promise<unknown> => {
    const run = await runs.get(id as RunId)
    assert.deepEqual([run.context.seriesId, run.context.nodeConfig.place], [seriesOf.get(id), 'left'])
    const count = Number(run.context.state.get('seen')?.get('count') ?? 0)
    runs.keep(run, { ...run.context, state: new RecordDict({ seen: new ConfigRecord({ count: count + 1 }) }) })
    runs.forget(id as RunId)
    return count
  }
  assert.deepEqual([await seen(1n), await seen(2n), await seen(3n), await seen(4n), await seen(5n)], [0, 1, 0, 0, 0])
})

test('the apps of all runs together are bounded, and a run that was forgotten is fetched again', async () => {
  using directory = temporaryDirectory()
  const { bytes, hash } = buildFab(writeApp(directory.file('app'), { server: '', client: '' }))
  const fetched: bigint[] = []
  const runs = new Runs(
    {
      nodeId: 9n as NodeId,
      async call(method: unknown, { runId }: { runId: bigint }) {
        if (method === fleet.getRun) {
          fetched.push(runId)
          return { waited: false, message: create(GetRunResponseSchema, { run: { runId, fabHash: hash } }) }
        }
        return { waited: false, message: { fab: { hashStr: hash, content: bytes, verifications: {} } } }
      },
    } as unknown as FleetClient,
    {},
    { fabBytesMax: 3 * bytes.length },
  )
  for (let run = 1n; run <= 4n; run++) await runs.get(run as RunId)
  assert.equal(runs.size, 3)
  await runs.get(4n as RunId)
  await runs.get(2n as RunId)
  await runs.get(1n as RunId)
  // The run that was used least recently had to go for it.
  await runs.get(3n as RunId)
  assert.deepEqual(fetched, [1n, 2n, 3n, 4n, 1n, 3n])
})

test('what ClientApps keep is bounded in bytes: the oldest is forgotten, with a message, and its run begins anew', async () => {
  using directory = temporaryDirectory()
  const { bytes, hash } = buildFab(writeApp(directory.file('app'), { server: '', client: '' }))
  const forgotten: string[] = []
  const runs = new Runs(
    {
      nodeId: 9n as NodeId,
      async call(method: unknown, { runId }: { runId: bigint }) {
        if (method === fleet.getRun)
          return {
            waited: false,
            message: create(GetRunResponseSchema, { run: { runId, fabHash: hash, seriesId: runId % 2n } }),
          }
        return { waited: false, message: { fab: { hashStr: hash, content: bytes, verifications: {} } } }
      },
    } as unknown as FleetClient,
    {},
    { stateBytesMax: 25_000, onStateForgotten: (owner) => forgotten.push(owner) },
  )
  const state = () => new RecordDict({ kept: new ConfigRecord({ bytes: new Uint8Array(10_000) }) })
  const isKept = async (id: bigint): Promise<boolean> => (await runs.get(id as RunId)).context.state.size > 0
  const keep = async (id: bigint): Promise<void> => {
    const run = await runs.get(id as RunId)
    runs.keep(run, { ...run.context, state: state() })
  }
  for (const id of [2n, 1n, 4n]) await keep(id)
  assert.deepEqual(forgotten, ['run 2'])
  assert.deepEqual([await isKept(1n), await isKept(4n), await isKept(2n)], [true, true, false])
  // A run of the same series has the state too.
  assert.equal(await isKept(3n), true)
  await keep(6n)
  assert.deepEqual(forgotten, ['run 2', 'series 1'])
  assert.deepEqual([await isKept(1n), await isKept(3n)], [false, false])
  // The state of a run without a series ends with it, also if its last task ends later.
  const ended = await runs.get(4n as RunId)
  runs.forget(4n as RunId)
  runs.keep(ended, { ...ended.context, state: state() })
  assert.equal(await isKept(4n), false)
})

test('of an app with a ClientApp in both languages a node runs the one in TypeScript, or in Python if it is told so', async () => {
  using directory = temporaryDirectory()
  const app = writeMixedApp(directory.file('app'), {
    server: { language: 'typescript', source: '' },
    client: { language: 'python', source: 'app = 1' },
    twin: '',
  })
  const { bytes, hash } = buildFab(app)
  const client = {
    nodeId: 9n as NodeId,
    call: async (method: unknown) => ({
      waited: false,
      message:
        method === fleet.getRun
          ? create(GetRunResponseSchema, { run: { runId: 1n, fabHash: hash } })
          : create(GetFabResponseSchema, { fab: { hashStr: hash, content: bytes } }),
    }),
  } as unknown as FleetClient
  const componentWith = async (apps: 'python' | 'typescript'): Promise<string> =>
    (await new Runs(client, {}, { apps }).get(1n as RunId)).component
  assert.deepEqual(
    [await componentWith('typescript'), await componentWith('python')],
    ['app/client.ts:app', 'app.client:app'],
  )
  assert.equal(parseSupernodeConfig(['--insecure'])?.apps, 'typescript')
  assert.equal(parseSupernodeConfig(['--insecure', '--apps', 'python'])?.apps, 'python')
})
