import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { writeApp } from '../../test/harness/write-app.ts'
import type { NodeId, RunId } from '../base/ids.ts'
import { buildFab } from '../fab/bundle.ts'
import { GetFabResponseSchema } from '../gen/flwr/proto/fab_pb.ts'
import { GetRunResponseSchema } from '../gen/flwr/proto/run_pb.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
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
    undefined,
    3 * bytes.length,
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
