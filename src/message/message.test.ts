import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorCodes, Message, type NewMessage } from './message.ts'
import { ConfigRecord, RecordDict } from './records.ts'

const content = new RecordDict({ config: new ConfigRecord({ lr: 0.1 }) })
const asked = new Message(
  {
    runId: 7n,
    messageId: 'a'.repeat(64),
    srcNodeId: 1n,
    dstNodeId: 42n,
    replyToMessageId: '',
    groupId: 'g',
    ttl: 3600,
    messageType: 'train.personalise',
    createdAt: Date.now() / 1000 - 100,
    srcTaskId: 5n,
    dstTaskId: 6n,
  },
  { content },
)

test('a reply goes back to where the message came from, as part of the same conversation', () => {
  const { metadata } = asked.reply(content)
  assert.deepEqual(
    { ...metadata, ttl: 0, createdAt: 0 },
    {
      runId: 7n,
      messageId: '',
      srcNodeId: 42n,
      dstNodeId: 1n,
      replyToMessageId: 'a'.repeat(64),
      groupId: 'g',
      ttl: 0,
      messageType: 'train.personalise',
      createdAt: 0,
      srcTaskId: 6n,
      dstTaskId: 5n,
    },
  )
})

test('a reply does not outlive its message', () => {
  const endsAt = asked.metadata.createdAt + asked.metadata.ttl
  for (const reply of [
    asked.reply(content),
    asked.reply(content, { ttl: 1e9 }),
    asked.replyError({ code: 2, reason: '' }),
  ])
    assert.ok(Math.abs(reply.metadata.createdAt + reply.metadata.ttl - endsAt) < 1e-3)
  assert.equal(asked.reply(content, { ttl: 5 }).metadata.ttl, 5)
})

test('a message has content or an error', () => {
  const failed = asked.replyError({ code: errorCodes.clientAppRaisedException, reason: 'no data' })
  assert.ok(failed.hasError() && !failed.hasContent())
  assert.throws(() => failed.content, /no data/)
  const answered = asked.reply(content)
  assert.ok(answered.hasContent() && !answered.hasError())
  assert.equal(answered.content.config('config').get('lr'), 0.1)
})

test('messages of an unknown type are refused', () => {
  const create = (fields: Partial<NewMessage>) => () =>
    Message.create({ content, messageType: 'train', dstNodeId: 2n, ...fields })
  for (const messageType of [
    'train',
    'evaluate',
    'query',
    'system',
    'train.a',
    'query._x1',
    'train.größe',
    'reconnect',
  ])
    assert.doesNotThrow(create({ messageType }))
  for (const messageType of ['', 'fit', 'Train', 'train.', 'train.1', 'train.a.b', 'train.a b', ' train', 'train\n'])
    assert.throws(create({ messageType }), /is not train, evaluate, query or system/)
  assert.throws(create({ content: { lr: 1 } as never }), /must be a RecordDict/)
  assert.throws(() => asked.reply({ lr: 1 } as never), /must be a RecordDict/)
})
