import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateMessage } from '../../message/deflate.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { encodeObject } from '../../objects/object-format.ts'
import { findMessageFault } from './reply-check.ts'

const metadata = { runId: 5n, srcNodeId: 7n, dstNodeId: 1n, replyToMessageId: 'a'.repeat(64) }

function reply(content: RecordDict) {
  const message = Message.create({ content, messageType: 'train', dstNodeId: 1n })
  const replyMetadata = { ...message.metadata, ...metadata }
  const { tree, objects } = deflateMessage(new Message(replyMetadata, { content }), replyMetadata)
  const bytes = new Map([...objects].map(([id, content]) => [id, content()] as const))
  return { stored: { metadata: replyMetadata, error: undefined, tree }, bytes }
}

const typeOf = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(0, 20)).toString().split(' ')[0] as string

function faultOf(stored: ReturnType<typeof reply>['stored'], bytes: ReadonlyMap<string, Uint8Array>) {
  const kinds = new Map([...bytes].map(([id, one]) => [id, typeOf(one) === 'ArrayChunk' ? 'chunk' : 'other'] as const))
  return findMessageFault(stored, kinds, async (id) => bytes.get(id))
}

test('an honest reply with every kind of record has no fault', async () => {
  const { stored, bytes } = reply(
    new RecordDict({
      arrays: new ArrayRecord({ w: NdArray.from(Float32Array.of(1, 2, 3)) }),
      metrics: new MetricRecord({ loss: Array.from({ length: 400_000 }, (_, index) => index / 7) }),
      config: new ConfigRecord({ text: 'x'.repeat(3_000_000), bytes: new Uint8Array(3_000_000) }),
    }),
  )
  assert.equal(await faultOf(stored, bytes), undefined)
})

test('a record that would become many times its size, and a description without end, are a fault', async () => {
  const { stored, bytes } = reply(new RecordDict({ config: new ConfigRecord({ x: 1n }) }))
  const [record = ''] = [...bytes].find(([, one]) => typeOf(one) === 'ConfigRecord') ?? []
  const bomb = encodeObject('ConfigRecord', [], Buffer.alloc(32_000_000, Buffer.from('0a00', 'hex')))
  assert.match(String(await faultOf(stored, new Map([...bytes, [record, bomb]]))), /too many fields|more than/)
  const names = encodeObject('Array', [], Buffer.alloc(5_000_000, ' '))
  assert.match(String(await faultOf(stored, new Map([...bytes, [record, names]]))), /description .* too large/)
})
