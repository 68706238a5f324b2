import assert from 'node:assert/strict'
import { mock, type TestContext, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { FakeTaskServer, instructionFor } from '../../test/harness/fake-task-server.ts'
import { TaskEndedError } from '../app-api/task-api.ts'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { NodeInfoSchema } from '../gen/flwr/proto/node_pb.ts'
import { errorCodes, type Message } from '../message/message.ts'
import { NdArray } from '../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../message/records.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { FedAvg } from '../sdk/strategy/fed-avg.ts'
import { TaskGrid } from './task-grid.ts'

function setUp() {
  const server = new FakeTaskServer()
  return { server, grid: new TaskGrid(server.api, { runId: 5n, taskId: 1n }) }
}

/** Offers replies to what is sent, as soon as it is asked for them. */
function replying(server: FakeTaskServer, contents: readonly RecordDict[]): void {
  const pull = server.api.pullMessages
  let offered = false
  server.api.pullMessages = (ids, options) => {
    if (!offered)
      server.pushed.forEach((message, index) => void server.offer(message.reply(contents[index] ?? new RecordDict())))
    offered = true
    return pull(ids, options)
  }
}

/** Makes the transfer of the second message hang until its signal. */
function hangAfter(server: FakeTaskServer, objects: number, onHang = (): void => {}): void {
  let handedOut = 0
  server.beforeObject = async (signal) => {
    handedOut += 1
    if (handedOut <= objects) return
    onHang()
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
}

/** Lets the time of a wait be over in the transfer of the next object after so many. */
function timeOutAfter(t: TestContext, server: FakeTaskServer, objects: number) {
  let now = systemClock.now()
  t.mock.method(systemClock, 'now', () => now)
  const timeOut = new AbortController()
  hangAfter(server, objects, () => {
    now += 100
    // A reply whose objects are here is complete by then.
    setImmediate(() => setImmediate(() => timeOut.abort(new Error('time-out'))))
  })
  return t.mock.method(AbortSignal, 'timeout', () => timeOut.signal)
}

const labelled = (n: number): RecordDict => new RecordDict({ c: new ConfigRecord({ n }) })

test('messages are sent in the name of the run, and each reply is handed out once', async () => {
  const { server, grid } = setUp()
  replying(server, [labelled(1), labelled(2)])
  const replies = await grid.sendAndReceive([instructionFor(labelled(10)), instructionFor(labelled(20))])
  assert.deepEqual(
    replies.map(({ content }) => content.config('c').get('n')),
    [1, 2],
  )
  const sent = server.pushed.map(({ metadata }) => [metadata.runId, metadata.srcNodeId])
  assert.deepEqual(sent, [
    [5n, 1n],
    [5n, 1n],
  ])
  assert.equal(server.confirmed.length, 2)
  assert.deepEqual(await grid.pullMessages(), [])
})

const model = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float32Array(values)) })
const trained = (value: number): RecordDict =>
  new RecordDict({ arrays: model(value), metrics: new MetricRecord({ n: value }) })

test('a reply is held at the SuperLink: its arrays are fetched when they are needed, and it is confirmed when it is released', async () => {
  const { server, grid } = setUp()
  replying(server, [trained(1), trained(2)])
  const held = await grid.sendAndHold([instructionFor(labelled(10)), instructionFor(labelled(20))])
  const fetched = (): number => server.calls.filter((call) => call === 'pullObject').length
  // Of each reply its dictionary and two records.
  assert.equal(fetched(), 6)
  assert.deepEqual(
    held.map(({ outline }) =>
      [...outline.values()].map((record) => ('arrayNames' in record ? record : record.toObject())),
    ),
    [1, 2].map((n) => [{ arrayNames: ['w'] }, { n }]),
  )
  assert.deepEqual(server.confirmed, [])
  assert.deepEqual(await grid.pullMessages(), [], 'each is handed out once')
  const { signal } = new AbortController()
  const [first, second] = held
  const pieces = (await first?.pieces(signal)) ?? []
  assert.deepEqual(
    pieces.map(({ name, isFirst, isLast }) => [name, isFirst, isLast]),
    [['w', true, true]],
  )
  const data = await pieces[0]?.load(signal)
  assert.deepEqual(Buffer.from(data ?? []), Buffer.from(model(1).getArray('w').data))
  const whole = await second?.load(signal)
  assert.deepEqual([...(whole?.content.arrays('arrays').getArray('w').values() ?? [])], [2])
  for (const reply of held) await reply.release()
  assert.equal(server.confirmed.length, 2)
})

test('a reply whose arrays are lost after its metrics have arrived is an error reply of its node', async () => {
  const { server, grid } = setUp()
  replying(server, [trained(1)])
  const [held] = await grid.sendAndHold([instructionFor()])
  const pull = server.api.pullObject
  server.api.pullObject = async (...args) => ({ ...(await pull(...args)), objectFound: false })
  const { signal } = new AbortController()
  const reply = await held?.load(signal)
  assert.deepEqual([reply?.error?.code, reply?.metadata.srcNodeId], [errorCodes.messageUnavailable, 9n])
  await assert.rejects(async () => held?.pieces(signal), { name: 'LostReplyError' })
})

test('an error reply of a named node is named in the log, released, and does not end the training', async () => {
  const lines: string[] = []
  mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
  const { server, grid } = setUp()
  server.api.getNodes = async () => [create(NodeInfoSchema, { nodeId: 9n, name: 'hospital-a' })]
  const pull = server.api.pullMessages
  server.api.pullMessages = (ids, options) => {
    const [message] = server.pushed
    if (message) server.offer(message.replyError({ code: errorCodes.clientAppRaisedException, reason: 'no data' }))
    return pull(ids, options)
  }
  const one = { minTrainNodes: 1, minAvailableNodes: 1, fractionEvaluate: 0 }
  const { arrays } = await new FedAvg(one).start(grid, model(3), { numRounds: 1 })
  mock.restoreAll()
  assert.deepEqual([...arrays.getArray('w').values()], [3])
  assert.ok(lines.some((line) => line.includes('from node 9: no data (node hospital-a)')))
  assert.equal(server.confirmed.length, 1)
})

test('several replies are fetched at the same time, a bounded number', async () => {
  const { server, grid } = setUp()
  const count = 3 * limits.repliesFetchedAtOnce
  replying(
    server,
    Array.from({ length: count }, (_, index) => labelled(index)),
  )
  let [running, most] = [0, 0]
  server.beforeObject = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
  }
  const replies = await grid.sendAndReceive(
    Array.from({ length: count }, (_, index) => instructionFor(labelled(-index))),
  )
  assert.deepEqual(
    replies.map(({ content }) => content.config('c').get('n')),
    Array.from({ length: count }, (_, index) => index),
  )
  const mostPossible = limits.repliesFetchedAtOnce * limits.transfersAtOnce
  assert.ok(most > limits.transfersAtOnce && most <= mostPossible, `${most} objects at the same time`)
})

test('a time-out bounds the transfer of replies too, and keeps those that have arrived', async (t: TestContext) => {
  const { server, grid } = setUp()
  replying(server, [labelled(1), labelled(2)])
  // A reply is a message, a dictionary and a record.
  const timeouts = timeOutAfter(t, server, 3)
  const replies = await grid.sendAndReceive([instructionFor(labelled(10)), instructionFor(labelled(20))], {
    timeoutSeconds: 0.05,
  })
  assert.deepEqual(
    replies.map(({ content }) => content.config('c').get('n')),
    [1],
  )
  assert.equal(timeouts.mock.callCount(), 1)
})

test('a reply whose transfer is cut off by the time-out is dropped later', async (t: TestContext) => {
  const { server, grid } = setUp()
  replying(server, [trained(1)])
  timeOutAfter(t, server, 0)
  assert.deepEqual(await grid.sendAndHold([instructionFor()], { timeoutSeconds: 0.05 }), [])
  assert.deepEqual(await grid.dropLateReplies(), [{ nodeId: 9n, messageType: 'query' }])
  assert.equal(server.confirmed.length, 1)
})

test('the signal of pullMessages ends a transfer that hangs', async () => {
  const { server, grid } = setUp()
  await grid.pushMessages([instructionFor()])
  server.reply()
  hangAfter(server, 0)
  const stop = new AbortController()
  const pulling = grid.pullMessages(undefined, { signal: stop.signal })
  setImmediate(() => stop.abort(new Error('stopped')))
  await assert.rejects(pulling, /stopped/)
})

test('the signal of pullMessages ends it while an earlier confirmation is not through', async () => {
  const { server, grid } = setUp()
  replying(server, [labelled(1)])
  const confirmed = Promise.withResolvers<void>()
  server.objectsBytesMax = 1024
  const confirm = server.api.confirmMessageReceived
  server.api.confirmMessageReceived = async (request) => {
    await confirmed.promise
    return confirm(request)
  }
  assert.equal((await grid.sendAndReceive([instructionFor()])).length, 1)
  const stop = new AbortController()
  const pulling = grid.pullMessages(undefined, { signal: stop.signal })
  setImmediate(() => stop.abort(new Error('stopped')))
  await assert.rejects(pulling, /stopped/)
  confirmed.resolve()
  assert.deepEqual(await grid.pullMessages(), [])
})

test('a pull without ids also returns what a SuperNode has sent unasked; a pull with ids does not', async () => {
  const { server, grid } = setUp()
  server.offer(instructionFor(labelled(1)))
  assert.deepEqual(await grid.pullMessages([]), [])
  const ids = await grid.pushMessages([instructionFor(labelled(2))])
  server.reply(labelled(3))
  const numbers = async (...pull: Parameters<typeof grid.pullMessages>) =>
    (await grid.pullMessages(...pull)).map(({ content }) => content.config('c').get('n'))
  assert.deepEqual(await numbers(ids as string[]), [3])
  assert.deepEqual(await numbers(), [1])
  assert.deepEqual(await numbers(), [])
})

test('a reply whose objects are gone is an error reply; a call that fails ends the run', async () => {
  const { server, grid } = setUp()
  await grid.pushMessages([instructionFor()])
  const [sent] = server.pushed
  server.offer((sent as NonNullable<typeof sent>).reply(labelled(1)), { without: true })
  const [reply] = await grid.pullMessages()
  assert.equal(reply?.error?.code, errorCodes.messageUnavailable)
  assert.match(reply?.error?.reason ?? '', /unavailable/)

  const other = setUp()
  await other.grid.pushMessages([instructionFor()])
  other.server.reply()
  other.server.failures.pullObject = [new RpcError('internal', 'broken', { kind: 'peer' })]
  await assert.rejects(other.grid.pullMessages(), /broken/)
})

test('a run that has ended is told so, whatever the grid waits for', async () => {
  const { server, grid } = setUp()
  server.failures.pullMessages = [new TaskEndedError('over')]
  await assert.rejects(grid.sendAndReceive([instructionFor()], { timeoutSeconds: 60 }), TaskEndedError)
})

test('progress is reported in order, in few calls, and never fails the run', async () => {
  const { server, grid } = setUp()
  const report = (...rounds: number[]): void => {
    for (const round of rounds) grid.reportProgress({ round, rounds: 9, phase: 'train' })
  }
  const { pushEvents } = server.api
  const isUnderWay = Promise.withResolvers<void>()
  server.api.pushEvents = async (events) => {
    isUnderWay.resolve()
    await pushEvents(events)
  }
  report(1)
  await isUnderWay.promise
  report(2, 3, 4)
  await grid.flush()
  assert.deepEqual(server.calls, ['pushEvents', 'pushEvents'])
  assert.deepEqual(
    server.events.map(({ data }) => JSON.parse(data).round),
    [1, 2, 3, 4],
  )
  server.failures.pushEvents = [new Error('no room')]
  report(5)
  await grid.flush()
  assert.equal(server.events.length, 4)
})

test('small messages travel whole at a server that takes objects along, and confirmations together', async () => {
  const { server, grid } = setUp()
  server.objectsBytesMax = limits.carriedPerCallBytesMax
  const contents = Array.from({ length: 20 }, (_, n) => trained(n))
  replying(server, contents)
  const sent = contents.map((_, n) => instructionFor(labelled(n)))
  const held = await grid.sendAndHold(sent.slice(0, 10))
  const { signal } = new AbortController()
  const values = await Promise.all(
    held.map(async (reply) => (await reply.load(signal)).content.metrics('metrics').get('n')),
  )
  assert.deepEqual(
    values,
    Array.from({ length: 10 }, (_, n) => n),
  )
  for (const reply of held) await reply.release()
  await grid.flush()
  assert.deepEqual(server.calls, ['pushMessages', 'pullMessages', 'confirmMessageReceived'])
  assert.equal(server.confirmed.length, 10)
})

test('replies that are taken at once are confirmed before the server is asked again', async () => {
  const { server, grid } = setUp()
  server.objectsBytesMax = limits.carriedPerCallBytesMax
  replying(server, [labelled(1), labelled(2)])
  await grid.sendAndReceive([instructionFor(labelled(10)), instructionFor(labelled(20))])
  assert.deepEqual(await grid.pullMessages(), [])
  const { calls } = server
  assert.deepEqual(calls, ['pushMessages', 'pullMessages', 'confirmMessageReceived', 'pullMessages'])
})

test('messages with more objects than one call takes are sent in several, and large ones without objects', async () => {
  const { server, grid } = setUp()
  server.objectsBytesMax = limits.carriedPerCallBytesMax
  const blob = (n: number, bytes: number) =>
    new RecordDict({ c: new ConfigRecord({ n, blob: new Uint8Array(bytes).fill(n) }) })
  const small = Array.from({ length: 20 }, (_, n) => instructionFor(blob(n, limits.carriedBytesMax - 1000)))
  const ids = await grid.pushMessages([...small, instructionFor(blob(99, limits.carriedBytesMax))])
  assert.equal(ids.length, 21)
  assert.equal(server.pushed.length, 21)
  const { length: pushes } = server.calls.filter((call) => call === 'pushMessages')
  const { length: uploads } = server.calls.filter((call) => call === 'pushObject')
  assert.deepEqual([pushes, uploads], [2, 3])
})

test('a confirmation that fails is reported by the next pull', async () => {
  const { server, grid } = setUp()
  server.objectsBytesMax = limits.carriedPerCallBytesMax
  replying(server, [labelled(1)])
  server.failures.confirmMessageReceived = [new RpcError('internal', 'no room')]
  await grid.sendAndReceive([instructionFor(labelled(10))])
  await assert.rejects(grid.pullMessages(), /no room/)
})

test('a wait ends when enough nodes have replied without an error, and what comes later is dropped unread', async () => {
  const { server, grid } = setUp()
  const pull = server.api.pullMessages
  let asked = 0
  server.api.pullMessages = (ids, options) => {
    const [first, second, third] = server.pushed
    if (asked++ === 0) {
      server.offer((first as Message).replyError({ code: errorCodes.clientAppRaisedException, reason: 'no data' }))
      server.offer((second as Message).reply(trained(2)))
    } else if (third) server.offer(third.reply(trained(3)))
    return pull(ids, options)
  }
  const messages = [1, 2, 3].map((n) => instructionFor(labelled(n)))
  const held = await grid.sendAndHold(messages, { timeoutSeconds: 600, enough: 1 })
  assert.deepEqual(
    held.map(({ error }) => error?.reason),
    ['no data', undefined],
  )
  for (const reply of held) await reply.release()
  const fetched = server.calls.filter((call) => call === 'pullObject').length
  const late = await grid.dropLateReplies()
  assert.deepEqual(late, [{ nodeId: 9n, messageType: 'query' }])
  assert.equal(server.calls.filter((call) => call === 'pullObject').length, fetched)
  assert.equal(server.confirmed.length, 3)
  assert.deepEqual(await grid.dropLateReplies(), [])
})

test('nodes have the name that operators gave them, or that of their certificate; servers that tell less are no trouble', async () => {
  const { server, grid } = setUp()
  const lastSeenAt = 1_700_000_000
  server.api.getNodes = async () => [
    create(NodeInfoSchema, { nodeId: 2n, name: 'Berlin', identity: 'node-b', tags: { region: 'eu' }, lastSeenAt }),
    create(NodeInfoSchema, { nodeId: 3n, identity: 'node-c', organization: 'Lab', status: 'online' }),
    create(NodeInfoSchema, { nodeId: 4n }),
  ]
  const unknown = { identity: undefined, organization: undefined, tags: {}, status: 'online', lastSeenAt: undefined }
  assert.deepEqual(await grid.getNodes(), [
    {
      ...unknown,
      nodeId: 2n,
      name: 'Berlin',
      identity: 'node-b',
      tags: { region: 'eu' },
      lastSeenAt: lastSeenAt * 1000,
    },
    { ...unknown, nodeId: 3n, name: 'node-c', identity: 'node-c', organization: 'Lab' },
    { ...unknown, nodeId: 4n, name: undefined },
  ])
  assert.deepEqual(await grid.getNodeIds(), [2n, 3n, 4n])
})
