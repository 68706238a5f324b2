import { create } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { takeTurns } from '../base/turns.ts'
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
  return [...new Set(idsIn(tree))]
}

/** The same without holding up other work. */
export async function flattenTreeInTurns(tree: ObjectTree): Promise<string[]> {
  const turn = takeTurns()
  const ids = new Set<string>()
  for (const id of idsIn(tree)) {
    ids.add(id)
    const pause = turn()
    if (pause) await pause
  }
  return [...ids]
}

function* idsIn(tree: ObjectTree): Generator<string> {
  const path = [{ node: tree, next: 0 }]
  let nodes = 1
  for (let top = path.at(-1); top; top = path.at(-1)) {
    const child = top.node.children[top.next++]
    if (child) {
      if (++nodes > limits.objectTreeNodesMax) throw tooBig(`more than ${limits.objectTreeNodesMax} nodes`)
      if (path.length === limits.objectTreeDepthMax) throw tooBig(`deeper than ${limits.objectTreeDepthMax}`)
      path.push({ node: child, next: 0 })
      continue
    }
    if (!isObjectId(top.node.objectId))
      throw new DomainError('invalid-request', 'An object tree holds an invalid object id.')
    yield top.node.objectId
    path.pop()
  }
}

/** How many objects a tree names, counted once for each place. The depth of trees from peers is limited where they are decoded. */
export function treeSize({ children }: ObjectTree): number {
  return children.reduce((size, child) => size + treeSize(child), 1)
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
