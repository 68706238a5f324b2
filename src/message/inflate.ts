import { fromBinary } from '@bufbuild/protobuf'
import { MessageSchema } from '../gen/flwr/proto/message_pb.ts'
import { ConfigRecordSchema, MetricRecordSchema } from '../gen/flwr/proto/recorddict_pb.ts'
import { type ObjectType, type ParsedObject, parseObject } from '../objects/object-format.ts'
import { Message } from './message.ts'
import { NdArray } from './nd-array.ts'
import { type AnyRecord, ArrayRecord, RecordDict } from './records.ts'
import { configRecordFromWire, metadataFromWire, metricRecordFromWire } from './wire.ts'

/** Gives the bytes of an object of the message's tree. */
export type GetObject = (objectId: string) => Uint8Array

/** Gives the bytes of an array that has been put together already. */
export type FindArray = (arrayId: string) => Uint8Array | undefined

/**
 * Puts a message together again. The arrays are views of the objects' bytes where they came in one chunk whose numbers
 * are aligned. Throws when the objects do not fit together, whatever an attacker put into them.
 */
export function inflateMessage(messageId: string, getObject: GetObject, findArray?: FindArray): Message {
  const { children, body } = parseAs('Message', messageId, getObject)
  const wire = fromBinary(MessageSchema, body)
  const metadata = { ...metadataFromWire(wire.metadata), messageId }
  if (wire.error) return new Message(metadata, { error: { code: Number(wire.error.code), reason: wire.error.reason } })
  const [recordDictId] = children
  if (children.length !== 1 || !recordDictId) throw new TypeError('A message without an error has one RecordDict.')
  return new Message(metadata, { content: new Inflater(getObject, findArray).recordDict(recordDictId) })
}

class Inflater {
  readonly #getObject: GetObject
  readonly #findArray: FindArray | undefined
  /** An array with several names is put together once. */
  readonly #arrays = new Map<string, NdArray>()

  constructor(getObject: GetObject, findArray: FindArray | undefined) {
    this.#getObject = getObject
    this.#findArray = findArray
  }

  recordDict(id: string): RecordDict {
    const named = namedChildren(parseAs('RecordDict', id, this.#getObject))
    return new RecordDict(named.map(([name, child]) => [name, this.#record(child)] as const))
  }

  #record(id: string): AnyRecord {
    const object = parseObject(this.#getObject(id))
    switch (object.type) {
      case 'MetricRecord':
        return metricRecordFromWire(fromBinary(MetricRecordSchema, object.body))
      case 'ConfigRecord':
        return configRecordFromWire(fromBinary(ConfigRecordSchema, object.body))
      case 'ArrayRecord':
        return new ArrayRecord(namedChildren(object).map(([name, child]) => [name, this.#array(child)] as const))
      default:
        throw new TypeError(`Object ${id} is a ${object.type}, not a record.`)
    }
  }

  #array(id: string): NdArray {
    const array = this.#arrays.get(id) ?? this.#newArray(id)
    this.#arrays.set(id, array)
    return array
  }

  #newArray(id: string): NdArray {
    const { dtype, shape, stype, chunkIds } = parseArray(id, this.#getObject)
    const data = this.#findArray?.(id) ?? this.#joined(chunkIds)
    return new NdArray({ dtype, shape, stype, data })
  }

  #joined(chunkIds: readonly string[]): Uint8Array {
    const chunks = new Map([...new Set(chunkIds)].map((chunkId) => [chunkId, parseChunk(this.#getObject(chunkId))]))
    return joined(chunkIds.map((chunkId) => chunks.get(chunkId) as Uint8Array))
  }
}

/** What an Array is, with the chunks of its file in their order; a chunk may occur more than once. */
export interface ArrayParts {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly stype: string
  readonly chunkIds: readonly string[]
}

export function parseArray(id: string, getObject: GetObject): ArrayParts {
  const { children, body } = parseAs('Array', id, getObject)
  const { chunkIndexes, ...description } = arrayDescription(body)
  if (new Set(chunkIndexes).size !== children.length)
    throw new TypeError('An Array does not use the chunks that it has.')
  const chunkIds = chunkIndexes.map((index) => {
    const chunkId = children[index]
    if (!chunkId) throw new TypeError('An Array names a chunk that it does not have.')
    return chunkId
  })
  return { ...description, chunkIds }
}

/** The bytes of a chunk, without a copy. */
export function parseChunk(bytes: Uint8Array): Uint8Array {
  const { type, body } = parseObject(bytes)
  if (type !== 'ArrayChunk') throw new TypeError(`A chunk of an Array is of type ${type}, not ArrayChunk.`)
  return body
}

export function parseAs(type: ObjectType, id: string, getObject: GetObject): ParsedObject {
  const object = parseObject(getObject(id))
  if (object.type !== type) throw new TypeError(`Object ${id} is of type ${object.type}, not ${type}.`)
  return object
}

function arrayDescription(body: Uint8Array) {
  const { dtype, shape, stype, arraychunk_ids: chunkIndexes } = JSON.parse(textOf(body)) as Record<string, unknown>
  const isNumbers = (list: unknown): list is number[] => Array.isArray(list) && list.every(Number.isSafeInteger)
  if (typeof dtype !== 'string' || typeof stype !== 'string' || !isNumbers(shape) || !isNumbers(chunkIndexes))
    throw new TypeError('The description of an Array is not understood.')
  return { dtype, shape, stype, chunkIndexes }
}

/** The widest number. numpy's headers are multiples of it. */
const alignment = 8

/**
 * Returns the same bytes, unless their numbers would lie across the machine's words: then every reader would have to copy them,
 * and they are copied once.
 */
export function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % alignment === 0 ? bytes : new Uint8Array(bytes)
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks
  if (chunks.length === 1 && first) return aligned(first)
  const data = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
  let offset = 0
  for (const chunk of chunks) {
    data.set(chunk, offset)
    offset += chunk.length
  }
  return data
}

/** The parts of a RecordDict or an ArrayRecord by name, in their order. */
export function namedChildren({ body, children }: ParsedObject): [string, string][] {
  const entries = orderedEntries(textOf(body))
  const referenced = new Set(entries.map(([, id]) => id))
  if (referenced.size !== children.length || !children.every((id) => referenced.has(id)))
    throw new TypeError('The names of a record do not match its children.')
  return entries
}

/** `JSON.parse` moves keys like "10" in front of others; the order of a record is the order of its text. */
function orderedEntries(json: string): [string, string][] {
  const entries = [...json.matchAll(/("(?:[^"\\]|\\.)*")\s*:\s*"([0-9a-f]{64})"/g)].map(
    ([, key, id]) => [JSON.parse(key as string) as string, id as string] as [string, string],
  )
  if (entries.length !== Object.keys(JSON.parse(json) as object).length)
    throw new TypeError('The names of a record are not understood.')
  return entries
}

function textOf(body: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(body)
}
