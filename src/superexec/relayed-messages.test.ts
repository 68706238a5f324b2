import assert from 'node:assert/strict'
import { type Duplex, duplexPair } from 'node:stream'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { FakeTaskServer, instructionFor } from '../../test/harness/fake-task-server.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { type TaskApi, TaskEndedError } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { limits } from '../base/limits.ts'
import { MessageSchema } from '../gen/flwr/proto/message_pb.ts'
import { Message } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { metadataFromWire, metadataToWire, recordDictFromWire, recordDictToWire } from '../message/wire.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { RelayedMessages } from './relayed-messages.ts'
import type { StartedApp } from './started-app.ts'
import { TaskGuard } from './task-guard.ts'
import { readFrames, writeFrame } from './worker-frames.ts'

/** A worker in this process. It replies with what it received, as a Python worker would. */
class FakeWorker implements StartedApp {
  readonly pid = 1
  isOver = false
  readonly #end = Promise.withResolvers<string>()
  readonly ended = this.#end.promise
  readonly #pipe: Duplex
  /** The parts of each message. */
  readonly received: Buffer[][] = []
  readonly #onMessage: (worker: FakeWorker) => void

  constructor(
    connect: (pipe: Duplex) => void,
    first: object | undefined,
    onMessage = (worker: FakeWorker): void => worker.reply(),
  ) {
    this.#onMessage = onMessage
    const [theirs, appSide] = duplexPair()
    this.#pipe = appSide
    appSide.on('error', () => {})
    appSide.on('end', () => this.end('exit status 0'))
    readFrames(appSide, { partsMax: 4, bytesMax: 1e6 }, (parts = []) => {
      this.received.push(parts.map((part) => Buffer.from(part)))
      this.#onMessage(this)
    })
    connect(theirs)
    if (first) writeFrame(appSide, [json(first)])
  }

  reply(content?: RecordDict): void {
    const [, context = Buffer.alloc(0), bytes = Buffer.alloc(0)] = this.received.at(-1) ?? []
    const { metadata, content: got } = fromBinary(MessageSchema, bytes)
    const instruction = new Message(metadataFromWire(metadata), { content: recordDictFromWire(got) })
    const reply = instruction.reply(content ?? instruction.content)
    const wire = { metadata: metadataToWire(reply.metadata), content: recordDictToWire(reply.content) }
    const message = { $typeName: 'flwr.proto.Message', ...wire } as const
    writeFrame(this.#pipe, [json({ details: '', seconds: 2 }), context, toBinary(MessageSchema, message)])
  }

  fail(details: string): void {
    writeFrame(this.#pipe, [json({ details, seconds: 0 }), this.received.at(-1)?.[1] as Buffer, Buffer.from([0xff])])
  }

  kill(): void {
    this.end('ended by a signal')
  }

  end(outcome: string): void {
    this.isOver = true
    this.#pipe.destroy()
    this.#end.resolve(outcome)
  }
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

function setUp(
  options: { first?: object | undefined; onMessage?: (worker: FakeWorker) => void; needsLastWords?: boolean } = {},
) {
  const { onMessage, needsLastWords = false } = options
  const first = 'first' in options ? options.first : { ready: true }
  const server = new FakeTaskServer()
  server.objectsBytesMax = limits.carriedBytesMax
  const { log, lines } = recordingLogger()
  let finish: TaskApi['finish'] = (outcome) => server.api.finish(outcome)
  /** The apps that the server was told are here, by call. */
  const knownFabs: (string | undefined)[] = []
  const pullWholeInput: TaskApi['pullWholeInput'] = (wishes) => {
    knownFabs.push(wishes.fabHash)
    return server.api.pullWholeInput(wishes)
  }
  const api = (): TaskApi => Object.assign(Object.create(server.api) as TaskApi, { finish, pullWholeInput })
  const source = { needsLastWords, open: api } as unknown as TaskSource
  const workers: FakeWorker[] = []
  const alone: AcquiredTask[] = []
  const relayed = new RelayedMessages({
    source,
    log,
    startWorker(_task, connect) {
      const worker = new FakeWorker(connect, first, onMessage)
      workers.push(worker)
      return worker
    },
    guard: (task, kill) => new TaskGuard({ source, task, log, kill }),
    adopt: (app, onEnd) => void app.ended.then(onEnd),
    launchAlone: (task) => alone.push(task),
  })
  /** Runs a task with this message. Resolves when it has ended, or was left to Flower's program. */
  const run = async (message = instructionFor(), runId = 5n): Promise<void> => {
    server.outcome = undefined
    server.offer(message)
    const before = alone.length
    const task = taskOf(runId)
    if (!relayed.take(task)) {
      alone.push(task)
      return
    }
    while (!server.outcome && alone.length === before) await new Promise((resolve) => setImmediate(resolve))
    server.forget(message)
  }
  const replaceFinish = (other: TaskApi['finish']): void => {
    finish = other
  }
  return {
    server,
    relayed,
    workers,
    alone,
    lines,
    knownFabs,
    run,
    replaceFinish,
    [Symbol.dispose]: () => relayed.close(),
  }
}

const taskOf = (runId: bigint): AcquiredTask => ({
  ...{ taskId: 1n, runId, program: 'flwr-clientapp', component: undefined, token: 't' },
})

const said = (text: string): RecordDict => new RecordDict({ c: new ConfigRecord({ text }) })

test('messages of a run go to one worker, each costs two calls, and the app is sent once', async () => {
  using relay = setUp()
  const { server, run, workers } = relay
  server.state = said('state')
  for (const text of ['one', 'two', 'three']) {
    server.calls.length = 0
    await run(instructionFor(said(text)))
    assert.deepEqual(server.calls, ['pullWholeInput', 'finish'])
    assert.equal(server.pushed.at(-1)?.content.config('c').get('text'), text)
    const { subStatus, context, clientappRuntime } = server.outcome ?? {}
    assert.deepEqual([subStatus, clientappRuntime], ['completed', 2])
    assert.equal(
      recordDictFromWire(context?.state as never)
        .config('c')
        .get('text'),
      'state',
    )
  }
  assert.equal(workers.length, 1)
  assert.deepEqual(
    workers[0]?.received.map(([about, , , fab]) => [JSON.parse(String(about)).fab_hash, String(fab)]),
    ['the app', '', ''].map((fab) => ['fab', fab]),
  )
})

test('the next message begins while the reply is sent, and does not suffer if the server refuses the reply', async () => {
  const gate = Promise.withResolvers<void>()
  const second = Promise.withResolvers<void>()
  using relay = setUp({
    onMessage(worker) {
      if (worker.received.length === 1) worker.reply()
      else second.resolve()
    },
  })
  const { run, replaceFinish, server, workers } = relay
  replaceFinish(async () => {
    await gate.promise
    throw new RpcError('resource-exhausted', 'no room', { kind: 'peer' })
  })
  const one = instructionFor(said('one'))
  const first = run(one)
  while (!workers[0]?.received[0]) await new Promise((resolve) => setImmediate(resolve))
  replaceFinish((outcome) => server.api.finish(outcome))
  // The first one has its worker, which is free again. Each task gets a message of its own.
  server.forget(one)
  const next = run(instructionFor(said('two')))
  await second.promise
  assert.equal(workers.length, 1)
  gate.resolve()
  await first
  assert.equal(server.outcome?.subStatus, 'failed')
  server.outcome = undefined
  workers[0]?.reply()
  while (!server.outcome) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((server.outcome as { subStatus: string }).subStatus, 'completed')
  await next
  assert.deepEqual(
    server.pushed.map(({ content }) => content.config('c').get('text')),
    ['two'],
  )
})

test('a task that ends while its worker starts is not started once more', async () => {
  using relay = setUp({ first: undefined })
  const { server, relayed, alone, workers } = relay
  server.failures.sendHeartbeat = [new TaskEndedError('The run was stopped.')]
  assert.ok(relayed.take(taskOf(5n)))
  await workers[0]?.ended
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(alone.length, 0)
})

test('the app of a run is kept as long as a worker of the run lives, also if the run ends while a message is fetched', async () => {
  using relay = setUp()
  const { relayed, run, workers, knownFabs } = relay
  const first = run()
  relayed.endRuns([5n])
  await first
  workers[0]?.end('exit status 0')
  await workers[0]?.ended
  await run()
  assert.deepEqual(knownFabs, [undefined, undefined])
  assert.equal(String(workers[1]?.received[0]?.[3]), 'the app')
})

test('a worker that ends before it is ready leaves its message to the program of Flower, unless all is closed', async () => {
  using relay = setUp({ first: undefined })
  const { relayed, run, alone, workers } = relay
  const first = run()
  workers[0]?.end('ended by a signal')
  await first
  assert.equal(alone.length, 1)
  assert.ok(relayed.take(taskOf(5n)))
  assert.equal(workers.length, 2)
  relayed.close()
  await workers[1]?.ended
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(alone.length, 1)
})

test('workers are not shared between runs and end with their run', async () => {
  using relay = setUp()
  const { relayed, run, workers } = relay
  await run(instructionFor(), 5n)
  await run(instructionFor(), 6n)
  relayed.endRuns([5n])
  await workers[0]?.ended
  assert.deepEqual(
    workers.map(({ isOver }) => isOver),
    [true, false],
  )
  await run(instructionFor(), 6n)
  assert.equal(workers.length, 2)
  // Another process needs the room.
  relayed.endOneIdle()
  assert.equal(await workers[1]?.ended, 'exit status 0')
})

test('a message that is too large is left to the program of Flower, before its task starts', async () => {
  using relay = setUp()
  const { server, run, alone, workers } = relay
  await run(instructionFor(new RecordDict({ c: new ConfigRecord({ blob: new Uint8Array(limits.carriedBytesMax) }) })))
  assert.equal(alone.length, 1)
  assert.deepEqual([server.calls, workers[0]?.received], [['pullWholeInput'], []])
  await run()
  assert.equal(workers.length, 1)
})

test('an environment that workers do not know, and servers of Flower, are left to the program of Flower', async () => {
  using unknown = setUp({ first: { unsupported: 'no such name' } })
  await unknown.run()
  await unknown.run()
  assert.equal(unknown.alone.length, 2)
  assert.deepEqual([unknown.server.calls, unknown.workers.length], [[], 1])
  using theirs = setUp({ needsLastWords: true })
  await theirs.run()
  assert.deepEqual([theirs.alone.length, theirs.workers.length], [1, 0])
})

test('a worker that ends with its message fails the task, and the next message gets another worker', async () => {
  let ends = true
  using relay = setUp({
    onMessage: (worker) => {
      if (ends) worker.end('exit status 3')
      else worker.reply()
      ends = false
    },
  })
  const { server, run, workers } = relay
  await run()
  assert.equal(server.outcome?.subStatus, 'failed')
  assert.match(server.outcome?.details ?? '', /exit status 3/)
  assert.equal(server.outcome?.processLost, true)
  await run()
  assert.equal(server.outcome?.subStatus, 'completed')
  assert.equal(workers.length, 2)
})

test('what a worker sends is checked: nonsense, and a reply that is too large, fail the message alone', async () => {
  const blob = new ConfigRecord({ blob: new Uint8Array(limits.objectBytesMax) })
  for (const [act, reason] of [
    [(worker: FakeWorker) => worker.fail(''), /could not be executed/],
    [(worker: FakeWorker) => worker.reply(new RecordDict({ blob })), /too large/],
  ] as const) {
    using relay = setUp({ onMessage: act })
    await relay.run()
    assert.equal(relay.server.outcome?.subStatus, 'failed')
    assert.match(relay.server.outcome?.details ?? '', reason)
  }
})
