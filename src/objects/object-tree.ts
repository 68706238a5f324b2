import { create } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type ObjectTree, ObjectTreeSchema } from '../gen/flwr/proto/message_pb.ts'
import { isObjectId } from './object-format.ts'

export type { ObjectTree } from '../gen/flwr/proto/message_pb.ts'

export function objectTree(objectId: string, children: ObjectTree[] = []): ObjectTree {
  return create(ObjectTreeSchema, { objectId, children })
}

/**
 * The ids of a tree, children before parents, each once. Throws `invalid-request` on a bad id or a tree beyond the limits:
 * trees come from peers.
 */
export function flattenTree(tree: ObjectTree): string[] {
  const ids = new Set<string>()
  let nodes = 0
  const visit = (node: ObjectTree, depth: number): void => {
    if (++nodes > limits.objectTreeNodesMax) throw tooBig(`more than ${limits.objectTreeNodesMax} nodes`)
    if (depth > limits.objectTreeDepthMax) throw tooBig(`deeper than ${limits.objectTreeDepthMax}`)
    if (!isObjectId(node.objectId))
      throw new DomainError('invalid-request', 'An object tree holds an invalid object id.')
    for (const child of node.children) visit(child, depth + 1)
    ids.add(node.objectId)
  }
  visit(tree, 1)
  return [...ids]
}

/** Whether the object is part of the tree. The ids of a tree are collected once. */
export function isInTree(tree: ObjectTree, objectId: string): boolean {
  const known = idsOf.get(tree) ?? new Set(flattenTree(tree))
  idsOf.set(tree, known)
  return known.has(objectId)
}

const idsOf = new WeakMap<ObjectTree, ReadonlySet<string>>()

function tooBig(what: string): DomainError {
  return new DomainError('invalid-request', `Object tree ${what}.`)
}
