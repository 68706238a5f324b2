import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FakeTaskServer, instructionFor } from '../../test/harness/fake-task-server.ts'
import { TaskEndedError } from '../app-api/task-api.ts'
import { errorCodes } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { RpcError } from '../rpc/rpc-error.ts'
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
function hangAfter(server: FakeTaskServer, objects: number): void {
  let handedOut = 0
  server.beforeObject = async (signal) => {
    handedOut += 1
    if (handedOut <= objects) return
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
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

test('a time-out bounds the transfer of replies too, and keeps those that have arrived', async (t: TestContext) => {
  const { server, grid } = setUp()
  replying(server, [labelled(1), labelled(2)])
  // A reply is a message, a dictionary and a record.
  hangAfter(server, 3)
  const signals: AbortController[] = []
  t.mock.method(AbortSignal, 'timeout', () => {
    const controller = new AbortController()
    signals.push(controller)
    // The clock of the system has passed the time-out of 0.05 s by then.
    setTimeout(() => controller.abort(new Error('time-out')), 100)
    return controller.signal
  })
  const replies = await grid.sendAndReceive([instructionFor(labelled(10)), instructionFor(labelled(20))], {
    timeoutSeconds: 0.05,
  })
  assert.deepEqual(
    replies.map(({ content }) => content.config('c').get('n')),
    [1],
  )
  assert.equal(signals.length, 1)
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

test('progress is reported in order and never fails the run', async () => {
  const { server, grid } = setUp()
  server.failures.pushEvent = [new Error('no room'), undefined]
  grid.reportProgress({ round: 1, rounds: 2, phase: 'train' })
  grid.reportProgress({ round: 2, rounds: 2, phase: 'train' })
  await grid.flush()
  assert.deepEqual(server.calls, ['pushEvent', 'pushEvent'])
})
