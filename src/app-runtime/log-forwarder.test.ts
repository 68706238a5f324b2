import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FakeTaskServer } from '../../test/harness/fake-task-server.ts'
import { TaskEndedError } from '../app-api/task-api.ts'
import { LogForwarder } from './log-forwarder.ts'

function setUp(t: TestContext) {
  const written: string[] = []
  t.mock.method(process.stderr, 'write', (text: string) => {
    written.push(text)
    return true
  })
  const sent: string[] = []
  const server = new FakeTaskServer()
  const push = server.api.pushLogs
  server.api.pushLogs = async (logs) => {
    await push(logs)
    sent.push(...logs)
  }
  return { server, written, sent, log: new LogForwarder(server.api) }
}

test('what an app writes is the log of the run, in order, and is still written here', async (t) => {
  const { log, sent, written, server } = setUp(t)
  process.stderr.write('one\n')
  process.stderr.write(Buffer.from('two\n') as unknown as string)
  await log.close()
  assert.equal(sent.join(''), 'one\ntwo\n')
  assert.equal(server.calls.length, 1, 'lines that follow each other travel together')
  process.stderr.write('later\n')
  assert.equal(sent.join(''), 'one\ntwo\n')
  assert.equal(written.length, 3)
})

test('lines beyond what is kept for an absent server are left out, and that is said', async (t) => {
  const { log, sent } = setUp(t)
  const line = `${'x'.repeat(1024 * 1024)}\n`
  for (let count = 0; count < 10; count++) process.stderr.write(line)
  await log.close()
  assert.ok(sent.join('').length < 6 * line.length)
  assert.equal(sent.filter((text) => /lines were lost here/.test(text)).length, 1)
})

test('a log that the server refuses is reported here, unless the task has ended', async (t) => {
  for (const [failure, isReported] of [
    [new Error('no room'), true],
    [new TaskEndedError('over'), false],
  ] as const) {
    const { log, written, server } = setUp(t)
    server.failures.pushLogs = [failure]
    process.stderr.write('one\n')
    await log.close()
    assert.equal(
      written.some((line) => /Log lines were lost: no room/.test(line)),
      isReported,
    )
    t.mock.restoreAll()
  }
})
