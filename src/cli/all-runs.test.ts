import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ListRunsResponseSchema } from '../gen/flwr/proto/control_pb.ts'
import { listAllRuns } from './all-runs.ts'

/** A SuperLink with `count` runs that hands out the newest 20, or all, as its release does. */
function superlinkWith(count: number, { pages }: { pages: boolean }) {
  const calls: object[] = []
  const client = {
    async listRuns(request: { limit?: bigint; skip?: bigint }) {
      calls.push(request)
      const limit = Number(request.limit ?? (pages ? 20 : count))
      const skip = pages ? Number(request.skip ?? 0) : 0
      const ids = Array.from({ length: count }, (_, index) => BigInt(index + 1)).slice(skip, skip + limit)
      const runDict = Object.fromEntries(ids.map((runId) => [runId.toString(), { runId }]))
      return create(ListRunsResponseSchema, { runDict, now: 'now' })
    },
  }
  return { client: client as never, calls }
}

test('all runs are listed, from SuperLinks that hand out pages and from those that do not', async () => {
  for (const pages of [true, false]) {
    for (const count of [0, 1, 19, 20, 21, 520, 1300]) {
      const { client } = superlinkWith(count, { pages })
      const { runs } = await listAllRuns(client)
      assert.equal(runs.length, count)
      assert.equal(new Set(runs.map(({ runId }) => runId)).size, count)
    }
  }
})

test('one question is enough where a few runs came', async () => {
  const { client, calls } = superlinkWith(7, { pages: true })
  await listAllRuns(client)
  assert.equal(calls.length, 1)
})
