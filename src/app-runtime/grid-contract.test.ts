import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { FakeTaskServer } from '../../test/harness/fake-task-server.ts'
import { systemClock } from '../base/clock.ts'
import { errorCodes, Message } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { ClientApp } from '../sdk/client-app.ts'
import type { Grid } from '../sdk/grid.ts'
import { InMemoryGrid } from '../sdk/in-memory-grid.ts'
import { TaskGrid } from './task-grid.ts'

/** What a ServerApp can rely on at a SuperLink as well as in a test of its author. */

const doubling = 2n
const failing = 3n
const silent = 4n
const absent = 99n
const failure = { code: errorCodes.clientAppRaisedException, reason: 'no data here' }
const content = (n: number): RecordDict => new RecordDict({ c: new ConfigRecord({ n }) })
const double = (message: Message): RecordDict => content(2 * Number(message.content.config('c').get('n')))
const to = (dstNodeId: bigint, n = 1): Message =>
  Message.create({ content: content(n), messageType: 'query', dstNodeId })
const contentOf = (reply: Message): unknown => (reply.hasError() ? reply.error : reply.content.config('c').get('n'))

function inMemory(): Grid {
  const app = new ClientApp().query((message) => message.reply(double(message)))
  const throwing = new ClientApp().query(() => {
    throw new Error(failure.reason)
  })
  const faults = { [`node-${silent}`]: { drop: 1 } }
  return new InMemoryGrid([{ app }, { app: throwing }, { app }], { clock: 'virtual', faults })
}

const now = systemClock.now
let skippedMs = 0
mock.method(systemClock, 'now', () => now() + skippedMs)

/** A server whose nodes reply when it is asked for replies. A question after the last reply takes as long as it may. */
function atServer(): Grid {
  const server = new FakeTaskServer()
  const { pushMessages, pullMessages } = server.api
  server.api.pushMessages = async (request) => {
    const response = await pushMessages(request)
    const messageIds = request.messagesList.map(({ metadata }) =>
      metadata?.dstNodeId === absent ? '' : (metadata?.messageId ?? ''),
    )
    return { ...response, messageIds }
  }
  const replied = new Set<string>()
  server.api.pullMessages = async (ids, options) => {
    for (const message of server.pushed) {
      const { dstNodeId, messageId } = message.metadata
      if (replied.has(messageId) || (dstNodeId !== doubling && dstNodeId !== failing)) continue
      replied.add(messageId)
      server.offer(dstNodeId === doubling ? message.reply(double(message)) : message.replyError(failure))
    }
    const response = await pullMessages(ids, options)
    if (response.messagesList.length === 0) skippedMs += options?.waitMs ?? 0
    return response
  }
  return new TaskGrid(server.api, { runId: 5n, taskId: 1n })
}

for (const [where, open] of [
  ['in memory', inMemory],
  ['at a server', atServer],
] as const) {
  test(`${where} a message has its id at once, one to a node that is not there has none, and each reply comes once`, async () => {
    const grid = open()
    const [id = '', missing, other = ''] = await grid.pushMessages([to(doubling, 1), to(absent), to(doubling, 2)])
    assert.equal(missing, undefined)
    assert.match(`${id} ${other}`, /^[0-9a-f]{64} [0-9a-f]{64}$/)
    const replies = await grid.pullMessages([other], { waitMs: 10_000 })
    assert.deepEqual(replies.map(contentOf), [4])
    assert.deepEqual(
      replies.map(({ metadata }) => [metadata.replyToMessageId, metadata.srcNodeId]),
      [[other, doubling]],
    )
    assert.deepEqual((await grid.pullMessages([id, other], { waitMs: 10_000 })).map(contentOf), [2])
    assert.deepEqual(await grid.pullMessages([id, other]), [])
  })

  test(`${where} a pull without ids returns the replies to all messages`, async () => {
    const grid = open()
    const ids = await grid.pushMessages([to(doubling, 1), to(doubling, 2)])
    const replies: Message[] = []
    while (replies.length < 2) replies.push(...(await grid.pullMessages(undefined, { waitMs: 10_000 })))
    assert.deepEqual(new Set(replies.map(({ metadata }) => metadata.replyToMessageId)), new Set(ids))
  })

  test(`${where} a wait for replies ends with all of them, errors included`, async () => {
    const replies = await open().sendAndReceive([to(doubling, 5), to(failing), to(absent)])
    assert.deepEqual(new Set(replies.map(contentOf)), new Set([10, failure]))
  })

  test(`${where} a wait for replies ends with its time, or when enough have come without an error`, async () => {
    const late = await open().sendAndReceive([to(silent), to(doubling)], { timeoutSeconds: 60 })
    assert.deepEqual(late.map(contentOf), [2])
    const enough = await open().sendAndReceive([to(silent), to(failing), to(doubling)], { enough: 1 })
    assert.ok(enough.some((reply) => contentOf(reply) === 2))
  })
}
