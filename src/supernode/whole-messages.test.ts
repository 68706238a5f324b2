import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SupernodeCore } from '../../test/harness/supernode-core.ts'
import { limits } from '../base/limits.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'

const run = 1n

async function work(node: SupernodeCore, replies: number, content = new RecordDict()): Promise<void> {
  const task = await node.takeTask()
  await node.pushReply(task, content)
  await node.finish(task)
  await node.fleet.replied(replies)
}

/** The calls of each message, without those of its run. */
function callsOf({ fleet }: SupernodeCore): Record<string, number> {
  const { getRun: _run, getFab: _fab, pullMessages: _pulls, ...calls } = Object.fromEntries(fleet.calls)
  return calls
}

const blob = (bytes: number) => new RecordDict({ c: new ConfigRecord({ blob: new Uint8Array(bytes) }) })

test('an instruction that comes with its objects costs one call, which takes the reply and confirms', async () => {
  await using node = await SupernodeCore.create()
  node.fleet.objectsBytesMax = limits.carriedBytesMax
  node.instruct(run, 100_000)
  await work(node, 1, blob(100_000))
  node.instruct(run)
  await work(node, 2)
  assert.deepEqual(callsOf(node), { pushMessages: 2 })
  assert.deepEqual(await node.leftovers(), {})
})

test('a reply that is too large for one call goes in parts, and is confirmed by a call of its own', async () => {
  await using node = await SupernodeCore.create()
  node.fleet.objectsBytesMax = limits.carriedBytesMax
  const id = node.instruct(run)
  await work(node, 1, blob(limits.carriedBytesMax))
  while (node.fleet.confirmed.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(callsOf(node), { pushMessages: 1, pushObject: 3, confirmMessageReceived: 1 })
  assert.deepEqual(node.fleet.confirmed, [id])
})

test('at a SuperLink that does not say that it takes objects along, messages go in parts', async () => {
  await using node = await SupernodeCore.create()
  node.instruct(run)
  await work(node, 1)
  while (node.fleet.confirmed.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(callsOf(node), { pullObject: 3, pushMessages: 1, pushObject: 2, confirmMessageReceived: 1 })
})
