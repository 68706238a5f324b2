import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Message } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { ClientApp } from './client-app.ts'
import { InMemoryGrid, type InMemoryGridOptions } from './in-memory-grid.ts'

const to = (dstNodeId: bigint): Message =>
  Message.create({ content: new RecordDict({ c: new ConfigRecord({ n: 1 }) }), messageType: 'query', dstNodeId })
const answering = (content: () => ConfigRecord): ClientApp =>
  new ClientApp().query((message) => message.reply(new RecordDict({ c: content() })))

test('each node replies with its own configuration and keeps its own state', async () => {
  const app = new ClientApp().query((message, context) => {
    const calls = context.state.has('s') ? context.state.config('s').getNumber('calls') + 1 : 1
    context.state.set('s', new ConfigRecord({ calls }))
    return message.reply(
      new RecordDict({ c: new ConfigRecord({ ...context.nodeConfig, ...context.runConfig, calls }) }),
    )
  })
  const grid = new InMemoryGrid(
    [
      { app, nodeConfig: { part: 0n } },
      { app, nodeConfig: { part: 1n } },
    ],
    {
      runConfig: { lr: 0.1 },
    },
  )
  const ids = await grid.getNodeIds()
  assert.equal(ids.length, 2)
  await grid.sendAndReceive([to(ids[0] as bigint)])
  const replies = await grid.sendAndReceive(ids.map(to))
  assert.deepEqual(
    replies.map((reply) => reply.content.config('c').toObject()),
    [
      { part: 0, lr: 0.1, calls: 2 },
      { part: 1, lr: 0.1, calls: 1 },
    ],
  )
  assert.ok(replies.every((reply) => reply.metadata.runId === grid.runId && reply.metadata.dstNodeId === 1n))
})

test('a node that throws, or returns no reply, replies with an error', async () => {
  const failing = new ClientApp().query(() => {
    throw new Error('no data')
  })
  const silent = new ClientApp().query(() => undefined as never)
  const grid = new InMemoryGrid([{ app: failing }, { app: silent }])
  const replies = await grid.sendAndReceive((await grid.getNodeIds()).map(to))
  assert.deepEqual(
    replies.map(({ error }) => error),
    [
      { code: 2, reason: 'no data' },
      { code: 2, reason: 'The query function did not return a reply: it must return message.reply(…).' },
    ],
  )
})

test('nodes that are not there are told apart, and replies are handed out once', async () => {
  const grid = new InMemoryGrid([{ app: answering(() => new ConfigRecord()) }])
  const [id, missing] = await grid.pushMessages([to(2n), to(99n)])
  assert.match(String(id), /^[0-9a-f]{64}$/)
  assert.equal(missing, undefined)
  assert.equal((await grid.pullMessages([id as string], { waitMs: 10_000 })).length, 1)
  assert.equal((await grid.pullMessages([id as string], { waitMs: 10_000 })).length, 0)
})

test('replies to every message are pulled when no ids are given', async () => {
  const grid = new InMemoryGrid([{ app: answering(() => new ConfigRecord()) }])
  const [first] = await grid.pushMessages([to(2n)])
  const [reply] = await grid.pullMessages(undefined, { waitMs: 10_000 })
  assert.equal(reply?.metadata.replyToMessageId, first)
  assert.deepEqual(await grid.pullMessages(), [])
})

test('the grid waits for a silent node until the time is up', async () => {
  const stuck = new ClientApp().query(() => new Promise(() => {}))
  const grid = new InMemoryGrid([{ app: stuck }, { app: answering(() => new ConfigRecord()) }])
  const replies = await grid.sendAndReceive((await grid.getNodeIds()).map(to), { timeoutSeconds: 0.05 })
  assert.deepEqual(
    replies.map(({ metadata }) => metadata.srcNodeId),
    [3n],
  )
  const [id] = await grid.pushMessages([to(2n)])
  await assert.rejects(
    grid.pullMessages([id as string], { waitMs: 60_000, signal: AbortSignal.timeout(5) }),
    /aborted|timeout/i,
  )
})

test('on a virtual clock replies come after their delays, are lost, or change places, the same for the same seed', async () => {
  const nodes = Array.from({ length: 8 }, () => ({ app: answering(() => new ConfigRecord()) }))
  const order = async (options: InMemoryGridOptions): Promise<number[]> => {
    const grid = new InMemoryGrid(nodes, { clock: 'virtual', ...options })
    const replies = await grid.sendAndReceive((await grid.getNodeIds()).map(to), { timeoutSeconds: 7200 })
    return replies.map(({ metadata }) => Number(metadata.srcNodeId))
  }
  const inTurn = [2, 3, 4, 5, 6, 7, 8, 9]
  const faults = { 'node-3': { delay: '2h' }, 'node-5': { delay: 30 }, 'node-8': { delay: '121m' } }
  assert.deepEqual(await order({ faults }), [2, 4, 6, 7, 9, 5, 3])
  const mixed = await order({ reorder: true, seed: 4 })
  assert.deepEqual(await order({ reorder: true, seed: 4 }), mixed)
  assert.notDeepEqual(mixed, inTurn)
  assert.deepEqual(mixed.toSorted(), inTurn)
  const dropped = Object.fromEntries(inTurn.map((id) => [`node-${id}`, { drop: 0.5 }]))
  const left = await order({ faults: dropped, seed: 2 })
  assert.deepEqual(await order({ faults: dropped, seed: 2 }), left)
  assert.ok(left.length > 0 && left.length < 8)
  await assert.rejects(
    new InMemoryGrid(nodes, { clock: 'virtual', faults: { 'node-2': { drop: 1 } } }).sendAndReceive([to(2n)]),
    /waited for without end/,
  )
})
