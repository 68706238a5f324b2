import { randomUUID } from 'node:crypto'
import { UsageError } from '../base/errors.ts'
import type { Database } from '../db/database.ts'
import { hasObjectsInFiles } from '../objects/object-rows.ts'
import * as settings from './apps/setting-store.ts'

const placeSetting = 'object-place'
const ownerSetting = 'object-owner'
/** Objects in the folder of `--storage-dir`, as they are without a bucket. */
export const folderPlace = 'folder'

/**
 * Makes sure that the objects of this database are where the SuperLink looks for them: in the folder, or in the bucket with
 * this label. Throws a UsageError if they are elsewhere.
 */
export async function ensureObjectPlace(db: Database, place: string): Promise<void> {
  const known = await findPlace(db)
  if (known === place) return
  if (await hasObjectsInFiles(db.read)) {
    const where = known === folderPlace ? 'in the folder of --storage-dir' : `in ${known}`
    const remedy = known === folderPlace ? 'leave out --storage' : `add --storage ${known} with its options`
    throw new UsageError(
      `The large objects of this database are ${where}: ${remedy}, or move them first with flower-superlink move-objects.`,
    )
  }
  await notePlace(db, place)
}

/** Returns the label of a bucket, or `folderPlace`. */
export async function findPlace(db: Database): Promise<string> {
  return (await settings.find(db.read, placeSetting)) ?? folderPlace
}

/** The objects are there from now on. */
export function notePlace(db: Database, place: string): Promise<void> {
  return db.transaction((tx) => settings.put(tx, placeSetting, place))
}

/** Returns the id by which a bucket knows whose objects it has. */
export async function objectOwner(db: Database): Promise<string> {
  const known = await settings.find(db.read, ownerSetting)
  if (known !== undefined) return known
  const owner = randomUUID()
  await db.transaction((tx) => settings.put(tx, ownerSetting, owner))
  return owner
}
