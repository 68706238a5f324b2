import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateMessage } from '../../src/message/deflate.ts'
import { parseDescr } from '../../src/message/dtype.ts'
import { inflateMessage } from '../../src/message/inflate.ts'
import { Message, type Metadata } from '../../src/message/message.ts'
import { recordDictFromWire, recordDictToWire } from '../../src/message/wire.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'
import {
  buildRecord,
  buildRecords,
  type DescribedArray,
  type DescribedRecords,
  readVectors,
  typedValues,
} from './vectors.ts'

/** Messages as Flower's Python package makes them (1.29 and 1.41 alike), by `make-vectors.py`. */
interface MessageCase {
  readonly name: string
  readonly metadata: Readonly<Record<string, string | number>>
  readonly message_id: string
  readonly records?: DescribedRecords
  readonly error?: { readonly code: number; readonly reason: string }
  /** In post-order; the bytes are left out where they are many. */
  readonly objects: readonly (readonly [string, string | null])[]
}

const messages = readVectors<MessageCase>('messages.jsonl')
const arraysOf = ({ records }: MessageCase): DescribedArray[] =>
  (records ?? []).flatMap(([, { arrays }]) => (arrays ?? []).map(([, array]) => array))
/** What numpy writes for arrays in another order than ours is read here, but not written. */
const isOurs = (array: DescribedArray): boolean => !array.dtype?.startsWith('>') && array.order !== 'F'

for (const vector of messages) {
  if (arraysOf(vector).every(isOurs))
    test(`written: ${vector.name} has the objects that Python makes, byte for byte`, () => {
      const body = vector.error ? { error: vector.error } : { content: buildRecords(vector.records ?? []) }
      assertSameObjects(deflateMessage(new Message(metadataOf(vector), body)), vector)
    })

  const bytes = new Map(vector.objects.map(([id, text]) => [id, text === null ? null : Buffer.from(text, 'base64')]))
  if ([...bytes.values()].every((object) => object !== null))
    test(`read: ${vector.name} has the values that Python put in, and is the same when written again`, () => {
      const message = inflateMessage(vector.message_id, (id) => bytes.get(id) as Uint8Array)
      assert.deepEqual(message.metadata, { ...metadataOf(vector), messageId: vector.message_id })
      assert.deepEqual(message.error, vector.error)
      if (vector.records) assertSameValues(message, vector.records)
      assertSameObjects(deflateMessage(message), vector)
      if (vector.records) {
        const inline = recordDictFromWire(recordDictToWire(message.content))
        assertSameObjects(deflateMessage(new Message(metadataOf(vector), { content: inline })), vector)
      }
    })
}

function assertSameObjects(deflated: ReturnType<typeof deflateMessage>, vector: MessageCase): void {
  for (const [id, text] of vector.objects) {
    const object = deflated.objects.get(id)?.()
    assert.ok(object, `object ${id} is missing`)
    if (text !== null) assert.equal(Buffer.from(object).toString('base64'), text)
  }
  assert.equal(deflated.messageId, vector.message_id)
  assert.equal(deflated.objects.size, vector.objects.length)
  // Children come before what they are part of, each where it is used first.
  const inTree = [...new Set(flattenTree(deflated.tree))]
  assert.deepEqual(new Set(inTree), new Set(vector.objects.map(([id]) => id)))
}

function assertSameValues(message: Message, records: DescribedRecords): void {
  assert.deepEqual(
    [...message.content.keys()],
    records.map(([name]) => name),
  )
  for (const [name, described] of records) {
    const record = message.content.get(name)
    const pairs = described.arrays ?? described.metrics ?? described.config ?? []
    assert.deepEqual(
      [...(record?.keys() ?? [])],
      pairs.map(([key]) => key),
    )
    if (!described.arrays) assert.deepEqual([...(record ?? [])], [...buildRecord(described)])
    for (const [key, array] of described.arrays ?? []) {
      if (array.opaque) continue
      const read = message.content.arrays(name).getArray(key)
      assert.equal(read.dtype, array.dtype)
      assert.deepEqual(read.shape, array.shape)
      const dtype = read.stored().dtype
      assert.equal(dtype, parseDescr(array.dtype)?.dtype ?? array.dtype)
      assert.deepEqual(read.values(dtype), typedValues(dtype, array.shape, array.values ?? []))
    }
  }
}

function metadataOf({ metadata: plain }: MessageCase): Metadata {
  return {
    runId: BigInt(plain.run_id as string),
    messageId: '',
    srcNodeId: BigInt(plain.src_node_id as string),
    dstNodeId: BigInt(plain.dst_node_id as string),
    replyToMessageId: String(plain.reply_to_message_id),
    groupId: String(plain.group_id),
    ttl: Number(plain.ttl),
    messageType: String(plain.message_type),
    createdAt: Number(plain.created_at),
  }
}
