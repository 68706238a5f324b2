import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { FakeTaskServer, instructionFor } from '../../test/harness/fake-task-server.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { TaskEndedError } from '../app-api/task-api.ts'
import { limits } from '../base/limits.ts'
import { errorCodes } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { recordDictFromWire } from '../message/wire.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { ClientApp } from '../sdk/client-app.ts'
import { runClientApp } from './clientapp-task.ts'
import { AppLoadError } from './load-app.ts'
import type { TaskContext } from './task-run.ts'

const countingApp = new ClientApp().query((message, context) => {
  context.state.set('seen', new ConfigRecord({ count: 1 }))
  return message.reply(new RecordDict({ c: new ConfigRecord({ said: 'hello' }) }))
})

function setUp() {
  const server = new FakeTaskServer()
  const { log, lines } = recordingLogger()
  const task = { api: server.api, config: {}, log, leaveLastWords: undefined } as unknown as TaskContext
  const run = (app: ClientApp | Error = countingApp, more: Partial<TaskContext> = {}): Promise<void> =>
    runClientApp({ ...task, ...more }, async () => {
      if (app instanceof Error) throw app
      return app
    })
  return { server, run, lines }
}

const refusal = (status: 'resource-exhausted' | 'internal' = 'internal'): RpcError =>
  new RpcError(status, 'no room', { kind: 'peer' })
const stateOf = (server: FakeTaskServer) => recordDictFromWire(server.outcome?.context?.state as never)

test('a ClientApp replies, and what it keeps is handed over with how long it took', async () => {
  const { server, run } = setUp()
  const id = server.offer(instructionFor())
  await run()
  assert.deepEqual(server.confirmed, [id])
  assert.equal(server.pushed.length, 1)
  assert.equal(server.pushed[0]?.metadata.replyToMessageId, id)
  assert.equal(server.pushed[0]?.content.config('c').get('said'), 'hello')
  assert.equal(server.outcome?.subStatus, 'completed')
  assert.ok((server.outcome?.clientappRuntime ?? -1) >= 0)
  assert.equal(stateOf(server).get('seen')?.get('count'), 1)
})

test('between our own programs a small message costs one call down and its reply one call up', async () => {
  const { server, run } = setUp()
  server.objectsBytesMax = limits.carriedBytesMax
  const id = server.offer(instructionFor())
  await run()
  assert.deepEqual(server.calls, ['pullInput', 'finish'])
  assert.equal(server.pushed[0]?.metadata.replyToMessageId, id)
  assert.equal(server.outcome?.subStatus, 'completed')
})

test('a message or reply that is too large for one call goes in parts', async () => {
  const { server, run } = setUp()
  server.objectsBytesMax = limits.carriedBytesMax
  const blob = new ConfigRecord({ blob: new Uint8Array(limits.carriedBytesMax) })
  server.offer(instructionFor(new RecordDict({ blob })))
  await run(new ClientApp().query((message) => message.reply(new RecordDict({ blob }))))
  assert.deepEqual(
    [...new Set(server.calls)],
    [
      ...['pullInput', 'pullMessages', 'pullObject', 'confirmMessageReceived'],
      ...['pushMessages', 'pushObject', 'finish'],
    ],
  )
  assert.equal(server.pushed.length, 1)
})

test('a state that is too large is an error reply at once, and the state before is kept', async () => {
  const { server, run } = setUp()
  server.state = new RecordDict({ before: new ConfigRecord({ kept: true }) })
  server.offer(instructionFor())
  const blob = new Uint8Array(limits.contextBytesMax)
  await run(
    new ClientApp().query((message, context) => {
      context.state.set('blob', new ConfigRecord({ blob }))
      return message.reply(new RecordDict())
    }),
  )
  const [reply] = server.pushed
  assert.match(reply?.error?.reason ?? '', /context\.state\) is too large to be kept: \d+ bytes, more than the \d+/)
  assert.equal(server.outcome?.subStatus, 'failed')
  assert.equal(server.outcome?.details, reply?.error?.reason)
  assert.deepEqual([...stateOf(server).keys()], ['before'])
})

for (const method of ['pushMessages', 'pushObject', 'finish', 'confirmMessageReceived', 'pullObject'] as const) {
  test(`if the server refuses ${method}, an error reply with the reason follows at once, and the state is not changed`, async () => {
    const { server, run, lines } = setUp()
    server.offer(instructionFor())
    server.failures[method] = [refusal('resource-exhausted')]
    await run()
    const last = server.pushed.at(-1)
    assert.equal(last?.error?.code, errorCodes.unknown)
    assert.match(last?.error?.reason ?? '', /could not be run to its end: .*no room/)
    assert.equal(server.outcome?.subStatus, 'failed')
    assert.match(server.outcome?.details ?? '', /no room/)
    assert.deepEqual([...stateOf(server).keys()], [])
    assert.ok(lines.some((line) => /no room/.test(line)))
  })
}

test('a server that names no ids has taken the reply; one that names an empty id has refused it', async () => {
  for (const [ids, subStatus] of [
    [[], 'completed'],
    [[''], 'failed'],
  ] as const) {
    const { server, run } = setUp()
    server.offer(instructionFor())
    const named: string[][] = [[...ids]]
    server.idsOf = (all) => named.shift() ?? all
    await run()
    assert.equal(server.outcome?.subStatus, subStatus)
  }
})

test('a message whose objects are gone is answered with an error', async () => {
  const { server, run } = setUp()
  server.offer(instructionFor(), { without: true })
  await run()
  assert.match(server.pushed[0]?.error?.reason ?? '', /is not known at the other end/)
  assert.equal(server.outcome?.subStatus, 'failed')
})

test('a failure that cannot be reported is for the frame of the process', async () => {
  const { server, run } = setUp()
  server.offer(instructionFor())
  server.failures.pushMessages = [refusal(), refusal()]
  await assert.rejects(run(), /no room/)
  assert.equal(server.outcome, undefined)
})

test('a task that the server has ended is left alone', async () => {
  const { server, run } = setUp()
  server.offer(instructionFor())
  server.failures.pushMessages = [new TaskEndedError('over')]
  await assert.rejects(run(), TaskEndedError)
  assert.equal(server.calls.filter((name) => name === 'pushMessages').length, 1)
})

test('an app that throws, cannot be loaded, or returns no reply sends an error that says so', async (t) => {
  t.mock.method(process.stderr, 'write', () => true)
  const cases: readonly [ClientApp | Error, number, RegExp][] = [
    [
      new ClientApp().query(() => {
        throw new RangeError('no such partition')
      }),
      errorCodes.clientAppRaisedException,
      /RangeError: no such partition/,
    ],
    [new AppLoadError('client.ts cannot be loaded'), errorCodes.loadClientAppException, /^client\.ts cannot be loaded/],
    [new ClientApp().query(() => instructionFor()), errorCodes.clientAppRaisedException, /return message\.reply/],
    [
      new ClientApp().query((message) =>
        message.reply(new RecordDict({ c: new ConfigRecord({ blob: new Uint8Array(limits.objectBytesMax) }) })),
      ),
      errorCodes.clientAppRaisedException,
      /The reply is too large: one of its records is/,
    ],
  ]
  for (const [app, code, reason] of cases) {
    const { server, run } = setUp()
    server.offer(instructionFor())
    await run(app)
    assert.equal(server.pushed.length, 1)
    assert.equal(server.pushed[0]?.error?.code, code)
    assert.match(server.pushed[0]?.error?.reason ?? '', reason)
    assert.ok(server.outcome)
  }
})

test('the stack of an error is written once a run, and every reply names the error', async (t) => {
  const written: string[] = []
  t.mock.method(process.stderr, 'write', (text: string) => written.push(text) > 0)
  const app = new ClientApp().query(() => {
    throw new RangeError('the same partition again')
  })
  for (let count = 0; count < 3; count++) {
    const { server, run } = setUp()
    server.offer(instructionFor())
    await run(app)
    assert.match(server.pushed[0]?.error?.reason ?? '', /RangeError: the same partition again/)
  }
  const stacks = written.filter((text) => text.includes('the same partition again'))
  assert.equal(stacks.length, 1)
  assert.match(stacks[0] ?? '', /^RangeError: the same partition again\n {4}at /)
})

test('last words are left before any code of the app runs', async () => {
  const order: string[] = []
  const { server } = setUp()
  server.offer(instructionFor())
  const leaveLastWords = async (): Promise<void> => void order.push('last words')
  const task = { api: server.api, config: {}, log: recordingLogger().log, leaveLastWords }
  const load = mock.fn(async () => {
    order.push('load')
    return countingApp
  })
  await runClientApp(task as unknown as TaskContext, load)
  assert.deepEqual(order, ['last words', 'load'])
})
