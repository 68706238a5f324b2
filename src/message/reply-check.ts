import { errorText } from '../base/errors.ts'
import { encodeObject, parseObject } from '../objects/object-format.ts'
import type { DescribedObject } from '../objects/object-store.ts'
import type { ObjectTree } from '../objects/object-tree.ts'
import { inflateMessage } from './inflate.ts'
import type { MessageError, Metadata } from './message.ts'

const emptyChunk = encodeObject('ArrayChunk', [], new Uint8Array())
/** Who sent what to whom: the message itself must say the same as its announcement. */
const announced = ['runId', 'srcNodeId', 'dstNodeId', 'replyToMessageId'] as const

/**
 * What is wrong with a message whose objects are all here, or `undefined`: objects that are not those of its tree, that do
 * not fit together, or that say otherwise than its announcement. A ServerApp of Flower that met one would end with its run.
 */
export function findMessageFault(
  message: { readonly metadata: Metadata; readonly error: MessageError | undefined; readonly tree: ObjectTree },
  objects: ReadonlyMap<string, DescribedObject>,
): string | undefined {
  const get = (id: string): Uint8Array => {
    const object = objects.get(id)
    if (object?.isChunk) return emptyChunk
    if (!object?.content) throw new TypeError(`Object ${id} is not part of the message.`)
    return object.content
  }
  try {
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

/** The children of each object are those of its tree: a receiver fetches by the tree and puts together by the objects. */
function ensureTreeFits(tree: ObjectTree, get: (id: string) => Uint8Array): void {
  const seen = new Set<string>()
  const visit = ({ objectId, children }: ObjectTree): void => {
    const inTree = new Set(children.map((child) => child.objectId))
    if (!seen.has(objectId)) {
      const own = parseObject(get(objectId)).children
      if (own.length !== inTree.size || !own.every((id) => inTree.has(id)))
        throw new TypeError(`The children of object ${objectId} are not those of its tree.`)
      seen.add(objectId)
    }
    for (const child of children) visit(child)
  }
  visit(tree)
}
