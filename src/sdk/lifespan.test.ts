import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext } from '../message/context.ts'
import { Message } from '../message/message.ts'
import { RecordDict } from '../message/records.ts'
import { ClientApp } from './client-app.ts'
import { InMemoryGrid } from './in-memory-grid.ts'
import { ServerApp } from './server-app.ts'

const grid = new InMemoryGrid([])
const question = Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId: 2n, dstTaskId: 7n })

test('a lifespan surrounds the whole ServerApp, also one that throws', async () => {
  const seen: string[] = []
  const app = new ServerApp()
    .main(() => {
      seen.push('main')
      throw new Error('no data')
    })
    .lifespan(async function* ({ runId }) {
      seen.push(`before run ${runId}`)
      yield
      seen.push('after')
    })
  await assert.rejects(app.run(grid, createContext({ runId: 5n })), /no data/)
  assert.deepEqual(seen, ['before run 5', 'main', 'after'])
})

test('if the app and the end of its lifespan fail, the run fails with the error of the app', async (t) => {
  const lines: string[] = []
  t.mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
  const app = new ServerApp()
    .main(() => {
      throw new Error('no data')
    })
    .lifespan(async function* () {
      yield
      throw new Error('not closed')
    })
  await assert.rejects(app.run(grid, createContext()), /no data/)
  assert.ok(lines.some((line) => line.includes('The end of the lifespan failed too: not closed')))
})

test('a lifespan surrounds each message of a ClientApp', async () => {
  const seen: string[] = []
  const app = new ClientApp()
    .query((message) => {
      seen.push('query')
      return message.reply(new RecordDict())
    })
    .lifespan(function* () {
      seen.push('before')
      yield
      seen.push('after')
    })
  await app.handle(question, createContext())
  const reply = await app.handle(question, createContext())
  assert.deepEqual(seen, ['before', 'query', 'after', 'before', 'query', 'after'])
  assert.equal(reply.metadata.srcTaskId, 7n)
})

test('a lifespan that does not yield once is refused, and so is a second one', async () => {
  const app = () => new ServerApp().main(() => {})
  const none = app().lifespan(function* () {})
  await assert.rejects(none.run(grid, createContext()), /must yield once, but it does not yield/)
  const twice = app().lifespan(function* () {
    yield
    yield
  })
  await assert.rejects(twice.run(grid, createContext()), /must yield once, but it yields again/)
  assert.throws(() => twice.lifespan(function* () {}), /has a lifespan function already/)
})
