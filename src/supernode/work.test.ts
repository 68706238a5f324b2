import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { MessageSchema, ObjectTreeSchema } from '../gen/flwr/proto/message_pb.ts'
import { Message } from '../message/message.ts'
import { RecordDict } from '../message/records.ts'
import { metadataToWire } from '../message/wire.ts'
import { type Work, WorkBook } from './work.ts'

const now = Date.parse('2026-11-24T12:00:00Z')
const { metadata: common } = Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId: 9n })

function setUp(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const book = new WorkBook()
  const expired: string[] = []
  let messages = 0
  let tasks = 0n
  const add = (runId = 1n, ttl = 60): Work => {
    const messageId = String(++messages)
    const metadata = metadataToWire({ ...common, messageId, runId, createdAt: now / 1000, ttl })
    const wire = create(MessageSchema, { metadata })
    const tree = create(ObjectTreeSchema, { objectId: messageId })
    return book.add(wire, tree, (work) => expired.push(work.metadata.messageId), now)
  }
  const begin = (work: Work): TaskId | undefined => {
    const taskId = ++tasks as TaskId
    return book.begin(work, taskId) ? taskId : undefined
  }
  return { book, add, begin, expired, timers: t.mock.timers }
}

const run = 1n as RunId

test('instructions of a run take turns in the order in which they came, and runs do not wait for each other', (t) => {
  const { book, add, begin } = setUp(t)
  const [first, second, other] = [add(), add(), add(2n)]
  assert.equal(book.startNext(run), first)
  assert.equal(book.startNext(run), undefined, 'the first is being started')
  assert.equal(book.startNext(2n as RunId), other)
  const taskId = begin(first) as TaskId
  assert.equal(book.ofTask(taskId), first)
  assert.equal(book.startNext(run), undefined, 'the first is being executed')
  assert.equal(book.end(first), true)
  assert.equal(book.ofTask(taskId), undefined)
  assert.equal(book.startNext(run), second)
  assert.deepEqual(book.ofRun(run), [first, second], 'the first has no reply yet')
  book.remove(first)
  assert.deepEqual(book.ofRun(run), [second])
  assert.equal(book.size, 2)
})

test('an instruction is executed once, and ended once', (t) => {
  const { book, add, begin } = setUp(t)
  const work = add()
  assert.equal(begin(work), undefined, 'it was not chosen')
  book.startNext(run)
  assert.notEqual(begin(work), undefined)
  assert.equal(begin(work), undefined, 'it has begun')
  assert.equal(book.end(work), true)
  assert.equal(book.end(work), false)
  assert.equal(begin(work), undefined, 'it has ended')
  book.remove(work)
  assert.equal(book.end(work), false)
})

test('an instruction that is ended while it is being started makes room for the next', (t) => {
  const { book, add, begin } = setUp(t)
  const [first, second] = [add(), add()]
  book.startNext(run)
  assert.equal(book.end(first), true)
  assert.equal(begin(first), undefined)
  assert.equal(book.startNext(run), second)
})

test('an instruction expires at the end of its life, unless it has ended before', (t) => {
  const { add, book, expired, timers } = setUp(t)
  const [short, ended, long] = [add(run, 10), add(run, 10), add(run, 11)]
  book.end(ended)
  timers.tick(9_999)
  assert.deepEqual(expired, [])
  timers.tick(1)
  assert.deepEqual(expired, [short.metadata.messageId])
  timers.tick(1000)
  assert.deepEqual(expired, [short.metadata.messageId, long.metadata.messageId])
})

test('an instruction that has expired on its way, or lives for years, has a timer that works', (t) => {
  const { add, expired, timers } = setUp(t)
  add(run, 1e12)
  const late = add(run, -5).metadata.messageId
  timers.tick(1)
  assert.deepEqual(expired, [late])
})

test('a finished instruction is remembered, one that is put back is not', (t) => {
  const { book, add } = setUp(t)
  const [finished, putBack] = [add(), add()]
  book.remove(finished)
  book.discard(putBack)
  assert.equal(book.findKnown(finished.metadata.messageId)?.isFinished, true)
  assert.equal(book.findKnown(putBack.metadata.messageId), undefined)
  assert.equal(book.size, 0)
})

test('the instructions that finished first are forgotten first, and one that is worked on never', (t) => {
  const { book, add } = setUp(t)
  const open = add()
  const finished = Array.from({ length: limits.finishedInstructionsMax + 2 }, () => add())
  for (const work of finished) book.remove(work)
  const isKnown = (work: Work | undefined): boolean => book.findKnown(work?.metadata.messageId ?? '') !== undefined
  assert.equal(isKnown(open), true)
  assert.equal(finished.filter(isKnown).length, limits.finishedInstructionsMax - 1)
  assert.deepEqual(finished.slice(0, 3).map(isKnown), [false, false, false])
  assert.equal(isKnown(finished[3]), true)
})
