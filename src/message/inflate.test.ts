import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeObject, objectId } from '../objects/object-format.ts'
import { deflateMessage } from './deflate.ts'
import { inflateMessage } from './inflate.ts'
import { Message } from './message.ts'
import { NdArray } from './nd-array.ts'
import { ArrayRecord, RecordDict } from './records.ts'

type Objects = Map<string, Uint8Array>
type Add = (...object: Parameters<typeof encodeObject>) => string

const envelope = deflateMessage(Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId: 2n }))
const envelopeBody = ((bytes) => bytes.subarray(bytes.indexOf(0) + 1))(
  (envelope.objects.get(envelope.messageId) as () => Uint8Array)(),
)

/** Reads a message around content that `make` puts together by hand. */
function inflating(make: (add: Add) => readonly string[]): () => Message {
  const objects: Objects = new Map()
  const add: Add = (...object) => {
    const bytes = encodeObject(...object)
    objects.set(objectId(bytes), bytes)
    return objectId(bytes)
  }
  const messageId = add('Message', make(add), envelopeBody)
  return () =>
    inflateMessage(messageId, (id) => {
      const bytes = objects.get(id)
      if (!bytes) throw new Error(`asked for ${id}`)
      return bytes
    })
}

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const arrayBody = (chunkIndexes: unknown): Uint8Array =>
  json({ dtype: 'int8', shape: [1], stype: 'blob', arraychunk_ids: chunkIndexes })
const inRecords = (add: Add, arrayId: string): string[] => {
  const recordId = add('ArrayRecord', [arrayId], json({ w: arrayId }))
  return [add('RecordDict', [recordId], json({ r: recordId }))]
}

test('objects that do not fit together are refused, also from an attacker', () => {
  const refused: [string, (add: Add) => readonly string[], RegExp][] = [
    ['no content', () => [], /has one RecordDict/],
    ['two contents', (add) => [add('RecordDict', [], json({})), add('ConfigRecord', [], Buffer.alloc(0))], /has one/],
    ['a record in place of records', (add) => [add('ConfigRecord', [], Buffer.alloc(0))], /not RecordDict/],
    [
      'records in records',
      (add) => {
        const inner = add('RecordDict', [], json({}))
        return [add('RecordDict', [inner], json({ r: inner }))]
      },
      /not a record/,
    ],
    [
      'a child without a name',
      (add) => [add('RecordDict', [add('ConfigRecord', [], Buffer.alloc(0))], json({}))],
      /do not match/,
    ],
    ['a name without a child', (add) => [add('RecordDict', [], json({ r: 'a'.repeat(64) }))], /do not match/],
    ['names that are no ids', (add) => [add('RecordDict', [], json({ r: 'x' }))], /not understood/],
    ['names in a list', (add) => [add('RecordDict', [], json(['x']))], /not understood/],
    ['no JSON', (add) => [add('RecordDict', [], Buffer.from('{'))], /JSON/],
    ['bytes that are no text', (add) => [add('RecordDict', [], Buffer.from([0xff]))], /encoded/],
    ['an array that names a missing chunk', (add) => inRecords(add, add('Array', [], arrayBody([0]))), /chunk/],
    [
      'an array with a chunk too many',
      (add) => inRecords(add, add('Array', [add('ArrayChunk', [], Buffer.from('a'))], arrayBody([]))),
      /chunks/,
    ],
    [
      'an array with a chunk before the first',
      (add) => inRecords(add, add('Array', [add('ArrayChunk', [], Buffer.from('a'))], arrayBody([-1]))),
      /does not have/,
    ],
    [
      'an array without a list of chunks',
      (add) => inRecords(add, add('Array', [], arrayBody('all'))),
      /not understood/,
    ],
    [
      'an array with a record as a chunk',
      (add) => inRecords(add, add('Array', [add('ConfigRecord', [], Buffer.alloc(0))], arrayBody([0]))),
      /not ArrayChunk/,
    ],
    [
      'an array in place of a record',
      (add) => {
        const array = add('Array', [], arrayBody([]))
        return [add('RecordDict', [array], json({ r: array }))]
      },
      /not a record/,
    ],
    [
      'a record that is no protobuf',
      (add) => {
        const record = add('ConfigRecord', [], Buffer.from([0xff, 0xff]))
        return [add('RecordDict', [record], json({ r: record }))]
      },
      /./,
    ],
  ]
  for (const [what, make, pattern] of refused) assert.throws(inflating(make), pattern, what)
})

test('chunks may be of any size and used more than once', () => {
  const message = inflating((add) => {
    const chunks = ['ab', 'c'].map((text) => add('ArrayChunk', [], Buffer.from(text)))
    return inRecords(add, add('Array', chunks, arrayBody([0, 1, 0])))
  })()
  assert.equal(Buffer.from(message.content.arrays('r').getArray('w').data).toString(), 'abcab')
})

test('numbers lie in memory as the machine reads them, whatever head their object has', () => {
  for (const length of [1, 10, 100, 1000]) {
    const values = new Float64Array(length).fill(0.5)
    const content = new RecordDict({ r: new ArrayRecord({ w: NdArray.from(values) }) })
    const { messageId, objects } = deflateMessage(Message.create({ content, messageType: 'train', dstNodeId: 2n }))
    const back = inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)()).content.arrays('r')
    assert.equal(back.getArray('w').values().buffer, back.getArray('w').data.buffer)
    assert.deepEqual(back.getArray('w').values('float64'), values)
  }
})

test('an array under several names is one array', () => {
  const array = NdArray.from(new Float32Array(4))
  const content = new RecordDict({ r: new ArrayRecord({ a: array, b: array }), s: new ArrayRecord({ c: array }) })
  const { messageId, objects } = deflateMessage(Message.create({ content, messageType: 'train', dstNodeId: 2n }))
  const back = inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)()).content
  assert.equal(back.arrays('r').getArray('a'), back.arrays('r').getArray('b'))
  assert.equal(back.arrays('r').getArray('a'), back.arrays('s').getArray('c'))
})
