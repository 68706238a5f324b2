import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../base/errors.ts'
import { findNodeId, findRunId } from './short-ids.ts'

const runIds = [11004904891780290339n, 11004900000000000001n, 77n]

/** A SuperLink with these runs and nodes, and the calls that it got. */
function superlink() {
  const calls: string[] = []
  const client = {
    async listRuns() {
      calls.push('listRuns')
      return { runDict: Object.fromEntries(runIds.map((runId) => [String(runId), { runId }])), now: '' }
    },
    async listNodes() {
      calls.push('listNodes')
      return { nodesInfo: runIds.map((nodeId) => ({ nodeId })), now: '' }
    },
  } as unknown as Parameters<typeof findRunId>[0] & Parameters<typeof findNodeId>[0]
  return { client, calls }
}

test('the first digits stand for a run or a SuperNode, if only one has them', async () => {
  const { client } = superlink()
  assert.equal(await findRunId(client, 11004904n, 'RUN_ID'), 11004904891780290339n)
  assert.equal(await findNodeId(client, 110049048917n, 'NODE_ID'), 11004904891780290339n)
  await assert.rejects(
    findRunId(client, 1100490n, 'RUN_ID'),
    new UsageError("RUN_ID '1100490' stands for 11004904891780290339 and 11004900000000000001: give more digits.", {
      exitStatus: 2,
    }),
  )
})

test('whole ids are not looked up, and few digits stand for nothing else', async () => {
  const { client, calls } = superlink()
  for (const id of [11004904891780290338n, 1n, 11004n]) assert.equal(await findRunId(client, id, 'RUN_ID'), id)
  assert.deepEqual(calls, [])
  assert.equal(await findRunId(client, 999999999n, 'RUN_ID'), 999999999n, 'the SuperLink says that there is none')
})
