import { errorText } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { MessageSchema } from '../../gen/flwr/proto/message_pb.ts'
import { ConfigRecordSchema, MetricRecordSchema } from '../../gen/flwr/proto/recorddict_pb.ts'
import { inflateMessage } from '../../message/inflate.ts'
import type { MessageError, Metadata } from '../../message/message.ts'
import { configRecordFromWire, metricRecordFromWire } from '../../message/wire.ts'
import { encodeObject, parseObject } from '../../objects/object-format.ts'
import type { ObjectKind } from '../../objects/object-store.ts'
import type { ObjectTree } from '../../objects/object-tree.ts'
import { scanBody } from '../../rpc/body-scan.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'

const emptyChunk = encodeObject('ArrayChunk', [], new Uint8Array())
const emptyMetricRecord = encodeObject('MetricRecord', [], new Uint8Array())
const emptyConfigRecord = encodeObject('ConfigRecord', [], new Uint8Array())
/** Run, sender, receiver and the message replied to: in the message itself they must be as in its announcement. */
const announced = ['runId', 'srcNodeId', 'dstNodeId', 'replyToMessageId'] as const

/**
 * What is wrong with a message whose objects are all here, or `undefined`: objects that are not those of its tree, that do
 * not fit together, or that say otherwise than its announcement. A ServerApp of Flower that met one would end with its run.
 */
export async function findMessageFault(
  message: { readonly metadata: Metadata; readonly error: MessageError | undefined; readonly tree: ObjectTree },
  kinds: ReadonlyMap<string, ObjectKind>,
  read: (id: string) => Promise<Uint8Array | undefined>,
): Promise<string | undefined> {
  const contents = new Map<string, Uint8Array>()
  const get = (id: string): Uint8Array => {
    const content = kinds.get(id) === 'chunk' ? emptyChunk : contents.get(id)
    if (!content) throw new TypeError(`Object ${id} is not part of the message.`)
    return content
  }
  try {
    let keptBytes = 0
    for (const [id, kind] of kinds) {
      const bytes = kind === 'chunk' ? undefined : await read(id)
      if (!bytes) continue
      const content = await checkContent(bytes)
      keptBytes += content.length
      if (keptBytes > limits.messageBytesMax) throw new TypeError('Its descriptions are too large.')
      contents.set(id, content)
    }
    ensureTreeFits(message.tree, get)
    const { metadata, error } = inflateMessage(message.tree.objectId, get)
    const other = announced.find((key) => metadata[key] !== message.metadata[key])
    if (other) return `its ${other} is another than the one that was announced`
    if ((error === undefined) !== (message.error === undefined)) return 'it was announced as an error, or is one'
    return undefined
  } catch (error) {
    return errorText(error)
  }
}

/**
 * Decodes a record, in turns and within the bounds of a request, for a record can become many times its size; returns an
 * empty one in its place. Other objects describe what they are made of, and are small.
 */
async function checkContent(bytes: Uint8Array): Promise<Uint8Array> {
  const { type, body } = parseObject(bytes)
  switch (type) {
    case 'MetricRecord':
      scanBody(MetricRecordSchema, body, limits.records)
      metricRecordFromWire(await decodeInTurns(MetricRecordSchema, body))
      return emptyMetricRecord
    case 'ConfigRecord':
      scanBody(ConfigRecordSchema, body, limits.records)
      configRecordFromWire(await decodeInTurns(ConfigRecordSchema, body))
      return emptyConfigRecord
    case 'Message':
      scanBody(MessageSchema, body, limits.bodies.small)
      return bytes
    default:
      if (bytes.length > limits.descriptionBytesMax) throw new TypeError(`The description of a ${type} is too large.`)
      return bytes
  }
}

/** The children of each object are those of its tree: a receiver fetches by the tree and puts together by the objects. */
function ensureTreeFits(tree: ObjectTree, get: (id: string) => Uint8Array): void {
  const seen = new Set<string>()
  const visit = ({ objectId, children }: ObjectTree): void => {
    const inTree = new Set(children.map((child) => child.objectId))
    if (!seen.has(objectId)) {
      const referenced = parseObject(get(objectId)).children
      if (referenced.length !== inTree.size || !referenced.every((id) => inTree.has(id)))
        throw new TypeError(`The children of object ${objectId} are not those of its tree.`)
      seen.add(objectId)
    }
    for (const child of children) visit(child)
  }
  visit(tree)
}
