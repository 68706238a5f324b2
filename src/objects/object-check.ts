import { fromBinary } from '@bufbuild/protobuf'
import type { Db } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { ObjectTreeSchema } from '../gen/flwr/proto/message_pb.ts'
import { splitObjects } from './joined-objects.ts'
import { objectId } from './object-format.ts'
import type { ObjectSource } from './object-source.ts'
import { flattenTree } from './object-tree.ts'

/** What a check of the objects has found so far. */
export interface ObjectCheck {
  objects: number
  files: number
  /** Of the files. */
  bytes: number
}

/**
 * Reads every stored object and compares it with its id, which is the SHA-256 of its bytes. Yields one sentence for each
 * object that is missing or damaged, with the runs that need it. Objects that are deleted meanwhile are no fault.
 *
 * @param source where the objects are that are not in their rows.
 */
export async function* checkObjects(db: Db, source: ObjectSource, check: ObjectCheck): AsyncGenerator<string> {
  for await (const { object_id: id, size, content } of storedObjects(db)) {
    check.objects++
    if (content) {
      if (content.length !== size || objectId(content) !== id) yield await faultOf(db, id, 'is damaged in the database')
      continue
    }
    check.files++
    check.bytes += size
    const fault = await source.faultOf(id, size)
    if (fault && (await isStillStored(db, id))) yield await faultOf(db, id, fault)
  }
  yield* checkJoined(db, check)
  const nameless = await db
    .selectFrom('message_object')
    .leftJoin('object', 'object.object_id', 'message_object.object_id')
    .where('object.object_id', 'is', null)
    .select(['message_object.message_id', 'message_object.object_id'])
    .limit(100)
    .execute()
  for (const row of nameless) yield `The message ${row.message_id} names the object ${row.object_id}, which is unknown.`
}

/** Objects in the rows of their messages have no ids there: they must be those of the message's tree, or its root. */
async function* checkJoined(db: Db, check: ObjectCheck): AsyncGenerator<string> {
  for (let last = 0; ; ) {
    const rows = await db
      .selectFrom('message')
      .select(['position', 'message_id', 'run_id', 'object_tree', 'objects', 'object_count', 'bundle_id'])
      .where('position', '>', last)
      .where('objects', 'is not', null)
      .orderBy('position')
      .limit(rowsAtOnce)
      .execute()
    for (const row of rows) {
      check.objects += row.object_count
      if (!isJoinedAsNamed(row))
        yield `The objects of message ${row.message_id} are damaged in the database; needed by run ${row.run_id}.`
    }
    const next = rows.at(-1)?.position
    if (next === undefined) return
    last = next
  }
}

function isJoinedAsNamed(row: Pick<Row<'message'>, 'object_tree' | 'objects' | 'bundle_id'>): boolean {
  try {
    const ids = new Set(splitObjects(row.objects ?? new Uint8Array()).map(objectId))
    const tree = fromBinary(ObjectTreeSchema, row.object_tree)
    const named = row.bundle_id === null ? flattenTree(tree) : [tree.objectId]
    return named.length === ids.size && named.every((id) => ids.has(id))
  } catch {
    return false
  }
}

/** Ids of the stored objects that are files. */
export async function* objectsInFiles(db: Db): AsyncGenerator<string> {
  for (let last = ''; ; ) {
    const rows = await db
      .selectFrom('object')
      .select('object_id')
      .where('object_id', '>', last)
      .where('available', '=', 1)
      .where('content', 'is', null)
      .orderBy('object_id')
      .limit(rowsAtOnce)
      .execute()
    for (const row of rows) yield row.object_id
    const next = rows.at(-1)?.object_id
    if (next === undefined) return
    last = next
  }
}

async function* storedObjects(db: Db) {
  for (let last = ''; ; ) {
    const rows = await db
      .selectFrom('object')
      .select(['object_id', 'size', 'content'])
      .where('object_id', '>', last)
      .where('available', '=', 1)
      .orderBy('object_id')
      .limit(rowsAtOnce)
      .execute()
    yield* rows
    const next = rows.at(-1)?.object_id
    if (next === undefined) return
    last = next
  }
}

const rowsAtOnce = 200

async function isStillStored(db: Db, id: string): Promise<boolean> {
  const row = await db.selectFrom('object').select('available').where('object_id', '=', id).executeTakeFirst()
  return row?.available === 1
}

async function faultOf(db: Db, id: string, what: string): Promise<string> {
  const runs = await db
    .selectFrom('message_object')
    .innerJoin('message', (join) =>
      join.on(({ eb, or, ref }) =>
        or([
          eb('message.message_id', '=', ref('message_object.message_id')),
          eb('message.bundle_id', '=', ref('message_object.message_id')),
        ]),
      ),
    )
    .where('message_object.object_id', '=', id)
    .select('message.run_id')
    .distinct()
    .limit(10)
    .execute()
  const needed = runs.length === 0 ? 'no run needs it' : `needed by run ${runs.map((row) => row.run_id).join(', ')}`
  return `The object ${id} ${what}; ${needed}.`
}
