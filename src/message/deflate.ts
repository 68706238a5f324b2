import { createHash } from 'node:crypto'
import { toBinary } from '@bufbuild/protobuf'
import { limits } from '../base/limits.ts'
import { MessageSchema, type Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import { ConfigRecordSchema, MetricRecordSchema } from '../gen/flwr/proto/recorddict_pb.ts'
import { encodeObject, type ObjectType, objectHead, objectId } from '../objects/object-format.ts'
import { type ObjectTree, objectTree } from '../objects/object-tree.ts'
import type { Message, Metadata } from './message.ts'
import type { NdArray } from './nd-array.ts'
import { pythonJson } from './python-json.ts'
import { type AnyRecord, ArrayRecord, MetricRecord, type RecordDict } from './records.ts'
import { configRecordToWire, metadataToWire, metricRecordToWire, strippedMessage } from './wire.ts'

/** A message split into its objects. Chunks of arrays are views of the array until they are sent. */
export interface DeflatedMessage {
  readonly messageId: string
  /** For `messages_list`: metadata with the id, and empty content or the error. */
  readonly wire: WireMessage
  readonly tree: ObjectTree
  /** Functions that return the bytes of each object of the tree. */
  readonly objects: ReadonlyMap<string, () => Uint8Array>
  /** The head and the body of each large chunk of an array: the body is a view of the array. */
  readonly chunks: ReadonlyMap<string, readonly Uint8Array[]>
  /** Size of the largest object: arrays are cut into chunks, other records are not. */
  readonly objectBytesLargest: number
  /** Size of all objects together; an object that occurs more than once may be counted each time. */
  readonly objectBytesTotal: number
}

/** Splits a message into objects. `metadata` replaces its own: the Grid sets run and sender before the id is computed. */
export function deflateMessage(message: Message, metadata: Metadata = message.metadata): DeflatedMessage {
  const parts = new Parts()
  const unnamed = { ...metadata, messageId: '' }
  const body = toBinary(MessageSchema, {
    ...strippedMessage(unnamed, message.error),
    metadata: metadataToWire(unnamed),
    content: undefined,
  } as WireMessage)
  const children = message.hasContent() ? [parts.recordDict(message.content)] : []
  const tree = parts.add('Message', children, body)
  const messageId = tree.objectId
  return {
    messageId,
    wire: strippedMessage({ ...metadata, messageId }, message.error),
    tree,
    objects: parts.objects,
    chunks: parts.chunks,
    objectBytesLargest: parts.objectBytesLargest,
    objectBytesTotal: parts.bytesTotal,
  }
}

/** One array sent to many nodes is hashed once: its data never changes after construction. */
const knownArrays = new WeakMap<NdArray, KnownArray>()

interface KnownArray {
  readonly tree: ObjectTree
  readonly objects: ReadonlyMap<string, () => Uint8Array>
  readonly chunks: ReadonlyMap<string, readonly Uint8Array[]>
  readonly bytesTotal: number
}

/** A chunk up to this size is joined with its head: that costs less than the handling of parts. */
const copiedBytesMax = 64 * 1024

class Parts {
  readonly objects = new Map<string, () => Uint8Array>()
  readonly chunks = new Map<string, readonly Uint8Array[]>()
  objectBytesLargest = 0
  bytesTotal = 0

  recordDict(records: RecordDict): ObjectTree {
    const entries = [...records].map(([name, record]) => [name, this.record(record)] as const)
    return this.#named('RecordDict', entries)
  }

  record(record: AnyRecord): ObjectTree {
    if (record instanceof ArrayRecord) {
      return this.#named(
        'ArrayRecord',
        [...record].map(([name, array]) => [name, this.array(array)] as const),
      )
    }
    return record instanceof MetricRecord
      ? this.add('MetricRecord', [], toBinary(MetricRecordSchema, metricRecordToWire(record)))
      : this.add('ConfigRecord', [], toBinary(ConfigRecordSchema, configRecordToWire(record)))
  }

  array(array: NdArray): ObjectTree {
    let known = knownArrays.get(array)
    if (!known) {
      const parts = new Parts()
      const tree = parts.#newArray(array)
      known = { tree, objects: parts.objects, chunks: parts.chunks, bytesTotal: parts.bytesTotal }
      knownArrays.set(array, known)
    }
    for (const [id, bytes] of known.objects) this.objects.set(id, bytes)
    for (const [id, parts] of known.chunks) this.chunks.set(id, parts)
    this.bytesTotal += known.bytesTotal
    return known.tree
  }

  #newArray(array: NdArray): ObjectTree {
    const chunks: ObjectTree[] = []
    for (let start = 0; start < array.data.length; start += limits.arrayChunkBytes) {
      chunks.push(this.#chunk(array.data.subarray(start, start + limits.arrayChunkBytes)))
    }
    const distinct = uniqueTrees(chunks)
    const positions = new Map(distinct.map((tree, index) => [tree.objectId, index]))
    const description = new Map<string, unknown>([
      ['dtype', array.dtype],
      ['shape', array.shape],
      ['stype', array.stype],
      ['arraychunk_ids', chunks.map(({ objectId: id }) => positions.get(id) as number)],
    ])
    return this.add('Array', distinct, Buffer.from(pythonJson(description)))
  }

  add(type: ObjectType, children: readonly ObjectTree[], body: Uint8Array): ObjectTree {
    const bytes = encodeObject(
      type,
      children.map((child) => child.objectId),
      body,
    )
    const id = objectId(bytes)
    this.objectBytesLargest = Math.max(this.objectBytesLargest, bytes.length)
    this.bytesTotal += bytes.length
    this.objects.set(id, () => bytes)
    return objectTree(id, [...children])
  }

  #chunk(slice: Uint8Array): ObjectTree {
    const head = objectHead('ArrayChunk', [], slice.length)
    const id = createHash('sha256').update(head).update(slice).digest('hex')
    this.objects.set(id, () => Buffer.concat([head, slice]))
    if (slice.length > copiedBytesMax) this.chunks.set(id, [head, slice])
    this.bytesTotal += head.length + slice.length
    return objectTree(id)
  }

  #named(type: 'RecordDict' | 'ArrayRecord', entries: readonly (readonly [string, ObjectTree])[]): ObjectTree {
    const ids = new Map(entries.map(([name, tree]) => [name, tree.objectId]))
    return this.add(type, uniqueTrees(entries.map(([, tree]) => tree)), Buffer.from(pythonJson(ids)))
  }
}

function uniqueTrees(trees: readonly ObjectTree[]): ObjectTree[] {
  return [...new Map(trees.map((tree) => [tree.objectId, tree])).values()]
}
