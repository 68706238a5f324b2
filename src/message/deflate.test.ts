import assert from 'node:assert/strict'
import { test } from 'node:test'
import { objectId } from '../objects/object-format.ts'
import { flattenTree } from '../objects/object-tree.ts'
import { deflateMessage } from './deflate.ts'
import { inflateMessage } from './inflate.ts'
import { Message, type Metadata } from './message.ts'
import { NdArray } from './nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from './records.ts'

const metadata: Metadata = {
  runId: 7n,
  messageId: '',
  srcNodeId: 1n,
  dstNodeId: 42n,
  replyToMessageId: '',
  groupId: '1',
  ttl: 3600,
  messageType: 'train',
  createdAt: 1740700800.5,
}

test('the worked example of the protocol page gets Flower’s ids', () => {
  const content = new RecordDict({
    arrays: new ArrayRecord({ w: NdArray.from(new Float32Array([1, 2])) }),
    config: new ConfigRecord({ 'server-round': 1 }),
  })
  const { messageId, tree, objects } = deflateMessage(new Message(metadata, { content }))
  assert.equal(messageId, 'ec30599dab1e1941156debd8022a7f709585b4756eb97d71f339a1a83045c253')
  assert.deepEqual(flattenTree(tree), [
    '98cf989024fca817c43ef779fbd3be783fb93ad32cc470e064f82efb506377d6',
    'c6eb924741274b78d8d2f566698064fffeaa0189b313a730d2e40ad2bdb1c9c2',
    '9cc27e52b16e582ac34013441ac0e361efdbf601d640bcc535be992da2c17612',
    '534ed7c522c7960a100d68971eb2984da96ba0725bb72c758b7dcda398047232',
    'e628fdf2536ccc8edabbc49cabe9e8804c53c281ce8858b8f5b15d6e827258fb',
    messageId,
  ])
  for (const [id, bytes] of objects) assert.equal(objectId(bytes()), id)

  const back = inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)())
  assert.deepEqual(back.metadata, { ...metadata, messageId })
  assert.deepEqual([...back.content.arrays('arrays').get('w')!.values()], [1, 2])
  assert.equal(back.content.config('config').get('server-round'), 1)
})

test('task ids are part of the message id', () => {
  const { messageId } = deflateMessage(
    new Message(
      { ...metadata, dstNodeId: 1n, groupId: '', messageType: 'query', srcTaskId: 5n, dstTaskId: 6n },
      {
        content: new RecordDict({
          arrays: new ArrayRecord({ w: NdArray.from(new Float32Array([1, 2])) }),
          config: new ConfigRecord({ 'server-round': 1 }),
        }),
      },
    ),
  )
  assert.equal(messageId, 'b47a04b68118c0de75e7fcf653c71a426963d6ff63e0e91655948a36625cc563')
})

test('error replies get Flower’s ids', () => {
  const reply = {
    ...metadata,
    srcNodeId: 42n,
    dstNodeId: 1n,
    replyToMessageId: 'ec30599dab1e1941156debd8022a7f709585b4756eb97d71f339a1a83045c253',
    createdAt: 1740700801.5,
    ttl: 3599,
  }
  assert.equal(
    deflateMessage(new Message(reply, { error: { code: 2, reason: 'boom' } })).messageId,
    '790126fb077df23bb3956b34f3a797ce382a2e7d674aa995ea5979984ff49d0c',
  )
  assert.equal(
    deflateMessage(new Message(reply, { error: { code: 0, reason: '' } })).messageId,
    '76d896e3db9e44b43149485500df5ef85add87a85d96efa81b8533fb0fca16a8',
  )
})

test('single records get Flower’s ids', () => {
  const idOf = (record: ArrayRecord | MetricRecord | ConfigRecord): string => {
    const { objects } = deflateMessage(new Message(metadata, { content: new RecordDict({ r: record }) }))
    return [...objects.keys()].at(-3) as string
  }
  assert.equal(
    idOf(new MetricRecord({ 'num-examples': 10, loss: 0.5 })),
    '774e484fca5b41799eeb0ee11484ef780f1194e442b05cbf3207d51a428f5236',
  )
  assert.equal(idOf(new ArrayRecord()), 'c68161c7561379629cbba143e65d069f43f30d933d924a2770859737e0b0d117')
  assert.equal(idOf(new ConfigRecord()), '92e56e10c672eb0057081182a173e1a861c62c6ce2efe9ce5c9a298f69e96d85')
})

test('a 12 MiB array is cut into chunks and put together again', () => {
  const values = new Float32Array(3 * 1024 * 1024).map((_, index) => index)
  const content = new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(values) }) })
  const { messageId, objects } = deflateMessage(new Message(metadata, { content }))
  assert.equal(objects.size, 3 + 1 + 1 + 1 + 1)
  const back = inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)())
  assert.deepEqual(back.content.arrays('arrays').get('w')!.values(), values)
})
