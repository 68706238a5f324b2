import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ObjectTree } from '../../src/gen/flwr/proto/message_pb.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import { parseDescr } from '../../src/message/dtype.ts'
import { inflateMessage } from '../../src/message/inflate.ts'
import { Message, type Metadata } from '../../src/message/message.ts'
import { recordDictFromWire, recordDictToWire } from '../../src/message/wire.ts'
import {
  buildRecord,
  buildRecords,
  type DescribedArray,
  type DescribedRecords,
  readVectors,
  typedValues,
} from './vectors.ts'

/** Messages as Flower's Python package makes them, by `make-vectors.py`: 1.29 and 1.41 alike but for the ids of tasks. */
interface MessageCase {
  readonly name: string
  readonly metadata: Readonly<Record<string, string | number>>
  readonly message_id: string
  readonly records?: DescribedRecords
  readonly error?: { readonly code: number; readonly reason: string }
  /** In post-order; the bytes are left out where they are many. */
  readonly objects: readonly (readonly [string, string | null])[]
  readonly tree: PlainTree
}

/** The place of an object among `objects`, and what it is made of. */
type PlainTree = readonly [place: number, children: readonly PlainTree[]]

const messages = ['messages.jsonl', 'task-messages.jsonl'].flatMap((name) => readVectors<MessageCase>(name))
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
  assert.deepEqual(plainTree(deflated.tree), treeWithIds(vector.tree, vector))
}

type TreeOfIds = readonly [id: string, children: readonly TreeOfIds[]]

function plainTree({ objectId, children }: ObjectTree): TreeOfIds {
  return [objectId, children.map(plainTree)]
}

function treeWithIds([place, children]: PlainTree, vector: MessageCase): TreeOfIds {
  return [vector.objects[place]?.[0] ?? '', children.map((child) => treeWithIds(child, vector))]
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
    ...(plain.src_task_id === undefined ? {} : { srcTaskId: BigInt(plain.src_task_id) }),
    ...(plain.dst_task_id === undefined ? {} : { dstTaskId: BigInt(plain.dst_task_id) }),
  }
}
