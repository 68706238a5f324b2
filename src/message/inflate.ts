import { fromBinary } from '@bufbuild/protobuf'
import { MessageSchema } from '../gen/flwr/proto/message_pb.ts'
import { ConfigRecordSchema, MetricRecordSchema } from '../gen/flwr/proto/recorddict_pb.ts'
import { type ParsedObject, parseObject } from '../objects/object-format.ts'
import { Message } from './message.ts'
import { NdArray } from './nd-array.ts'
import { type AnyRecord, ArrayRecord, RecordDict } from './records.ts'
import { configRecordFromWire, metadataFromWire, metricRecordFromWire } from './wire.ts'

/** Gives the bytes of an object of the message's tree. */
export type GetObject = (objectId: string) => Uint8Array

/**
 * Puts a message together again. The arrays are views of the objects' bytes where they came in one chunk.
 * Throws a TypeError when the objects do not fit together.
 */
export function inflateMessage(messageId: string, getObject: GetObject): Message {
  const { type, children, body } = parseObject(getObject(messageId))
  if (type !== 'Message') throw new TypeError(`Object ${messageId} is a ${type}, not a Message.`)
  const wire = fromBinary(MessageSchema, body)
  const metadata = { ...metadataFromWire(wire.metadata), messageId }
  if (wire.error) return new Message(metadata, { error: { code: Number(wire.error.code), reason: wire.error.reason } })
  const [recordDictId] = children
  if (children.length !== 1 || !recordDictId) throw new TypeError('A message without an error has one RecordDict.')
  return new Message(metadata, { content: inflateRecordDict(recordDictId, getObject) })
}

function inflateRecordDict(id: string, getObject: GetObject): RecordDict {
  const object = parseObject(getObject(id))
  if (object.type !== 'RecordDict') throw new TypeError(`Object ${id} is a ${object.type}, not a RecordDict.`)
  return new RecordDict(namedChildren(object).map(([name, child]) => [name, inflateRecord(child, getObject)] as const))
}

function inflateRecord(id: string, getObject: GetObject): AnyRecord {
  const object = parseObject(getObject(id))
  switch (object.type) {
    case 'MetricRecord':
      return metricRecordFromWire(fromBinary(MetricRecordSchema, object.body))
    case 'ConfigRecord':
      return configRecordFromWire(fromBinary(ConfigRecordSchema, object.body))
    case 'ArrayRecord':
      return new ArrayRecord(
        namedChildren(object).map(([name, child]) => [name, inflateArray(child, getObject)] as const),
      )
    default:
      throw new TypeError(`Object ${id} is a ${object.type}, not a record.`)
  }
}

function inflateArray(id: string, getObject: GetObject): NdArray {
  const { type, children, body } = parseObject(getObject(id))
  if (type !== 'Array') throw new TypeError(`Object ${id} is a ${type}, not an Array.`)
  const fields = JSON.parse(Buffer.from(body).toString()) as {
    dtype: string
    shape: number[]
    stype: string
    arraychunk_ids: number[]
  }
  const chunks = fields.arraychunk_ids.map((index) => {
    const chunkId = children[index]
    if (chunkId === undefined) throw new TypeError('An Array names a chunk that it does not have.')
    const chunk = parseObject(getObject(chunkId))
    if (chunk.type !== 'ArrayChunk') throw new TypeError('An Array has a child that is not a chunk.')
    return chunk.body
  })
  const { dtype, shape, stype } = fields
  return new NdArray({ dtype, shape, stype, data: joined(chunks) })
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0] as Uint8Array
  const data = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
  let offset = 0
  for (const chunk of chunks) {
    data.set(chunk, offset)
    offset += chunk.length
  }
  return data
}

function namedChildren({ body, children }: ParsedObject): [string, string][] {
  const entries = orderedEntries(Buffer.from(body).toString())
  const referenced = new Set(entries.map(([, id]) => id))
  if (referenced.size !== children.length || !children.every((id) => referenced.has(id))) {
    throw new TypeError('The names of a record do not match its children.')
  }
  return entries
}

/** `JSON.parse` moves keys like "10" in front of others; the order of a record is the order of its text. */
function orderedEntries(json: string): [string, string][] {
  const entries = [...json.matchAll(/("(?:[^"\\]|\\.)*")\s*:\s*"([0-9a-f]{64})"/g)].map(
    ([, key, id]) => [JSON.parse(key as string) as string, id as string] as [string, string],
  )
  if (entries.length !== Object.keys(JSON.parse(json) as object).length)
    throw new TypeError('A record is not understood.')
  return entries
}
