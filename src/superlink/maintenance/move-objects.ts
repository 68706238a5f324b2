import { stat } from 'node:fs/promises'
import { errorText, UsageError } from '../../base/errors.ts'
import type { Main } from '../../base/program.ts'
import { openDatabase } from '../../db/database.ts'
import type { Bucket } from '../../objects/bucket/bucket.ts'
import { checkObjects, type ObjectCheck, objectsInFiles } from '../../objects/object-check.ts'
import { objectPath } from '../../objects/object-files.ts'
import { bucketSource, folderSource } from '../../objects/object-source.ts'
import { findPlace, folderPlace, notePlace, objectOwner } from '../object-place.ts'
import { copyObjects } from './backup.ts'
import { moveRows, parseStoredState, type StoredState } from './stored-state.ts'

const name = 'flower-superlink move-objects'
const summary =
  'Copy the large objects of a stopped SuperLink from its folder to the bucket of --storage, or back if they are in the bucket.'

const ofPostgres = 'with PostgreSQL, let the active runs end, then start the SuperLink with the other --storage.'

/** `flower-superlink move-objects`: the objects stay where they were as well, until they are deleted by hand. */
export const moveObjectsCommand: Main = async (argv) => {
  const state = parseStoredState(name, summary, moveRows, argv, ofPostgres)
  if (!state) return 0
  const { bucket } = state
  if (!bucket) throw new UsageError(`${name}: name the bucket with --storage s3://BUCKET/PREFIX.`, { exitStatus: 2 })
  const { check, from, to } = await moveObjects(state, bucket)
  process.stdout.write(
    `Copied ${check.files} objects with ${check.bytes} bytes from ${from} to ${to}, and checked them.\n`,
  )
  return 0
}

/** Throws a UsageError unless all objects are in their new place; then the database names that. */
export async function moveObjects(
  { path, objects }: StoredState,
  bucket: Bucket,
): Promise<{ readonly check: ObjectCheck; readonly from: string; readonly to: string }> {
  await using db = openDatabase({ path })
  const known = await findPlace(db)
  if (known !== folderPlace && known !== bucket.label)
    throw new UsageError(`The objects of ${path} are in ${known}: name that bucket with --storage.`)
  const toBucket = known === folderPlace
  if (!(await bucket.claim(await objectOwner(db))))
    throw new UsageError(`The object store ${bucket.label} is that of another SuperLink: use another prefix.`)
  if (toBucket) await upload(db, objects, bucket)
  else await copyObjects(db, bucketSource(bucket), objects)
  const check: ObjectCheck = { objects: 0, files: 0, bytes: 0 }
  for await (const fault of checkObjects(db.read, toBucket ? bucketSource(bucket) : folderSource(objects), check))
    throw new UsageError(`The objects were not moved: ${fault}`)
  await notePlace(db, toBucket ? bucket.label : folderPlace)
  return toBucket ? { check, from: objects, to: bucket.label } : { check, from: bucket.label, to: objects }
}

async function upload({ read }: Parameters<typeof copyObjects>[0], from: string, bucket: Bucket): Promise<void> {
  for await (const id of objectsInFiles(read)) {
    const file = objectPath(from, id)
    const { size } = await stat(file).catch((error: unknown) => {
      throw new UsageError(`The object file ${file} cannot be read (${errorText(error)}): see flower-superlink check.`)
    })
    await bucket.put(id, file, size)
  }
}
