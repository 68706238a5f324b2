import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { constants, copyFile, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import type { Database } from '../db/database.ts'
import { objectPath } from '../objects/object-files.ts'
import { listSomeInFiles } from '../objects/object-rows.ts'
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
  if ((await listSomeInFiles(db.read)).length > 0) {
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

/** Returns the id by which a bucket or a folder knows whose objects it has. */
export async function objectOwner(db: Database): Promise<string> {
  const known = await settings.find(db.read, ownerSetting)
  if (known !== undefined) return known
  const owner = randomUUID()
  await db.transaction((tx) => settings.put(tx, ownerSetting, owner))
  return owner
}

/**
 * Gives a database a new id, because its copy has the old one: it could delete objects that only the copy still knows.
 */
export function renewObjectOwner(db: Database): Promise<void> {
  return db.transaction((tx) => settings.put(tx, ownerSetting, randomUUID()))
}

const markerName = 'trellis.json'

/**
 * Makes sure that a folder has the objects of no other database, which would delete those of this one. With `marks` the folder
 * is that of this database from now on. Throws a UsageError if it is that of another one, or if it has none of the objects that
 * the database has: a disk may not be mounted.
 */
export async function claimObjectFolder(directory: string, db: Database, marks: boolean): Promise<void> {
  const path = join(directory, markerName)
  const owner = await objectOwner(db)
  let found = await readMarker(path)
  if (!found && marks) {
    await ensureHasObjects(directory, db, `create ${path} with the content {"owner":"${owner}"}`)
    await mkdir(directory, { recursive: true, mode: 0o700 })
    // A power cut, or a copy of the folder, may have left one without its content.
    if (found === '') await rm(path, { force: true })
    await putMarker(path, owner)
    found = await readMarker(path)
  }
  if (!found || found === owner) return
  throw new UsageError(
    `The folder ${directory} has the objects of another database: name another folder with --storage-dir. If that database is not used any more, delete ${path}; then objects that this database does not name are deleted too.`,
  )
}

async function ensureHasObjects(directory: string, db: Database, giveUp: string): Promise<void> {
  const some = await listSomeInFiles(db.read)
  if (some.length === 0 || some.some((id) => existsSync(objectPath(directory, id)))) return
  throw new UsageError(
    `The folder ${directory} has no object of this database: mount the disk that has them, or name their folder with --storage-dir. If they are lost, ${giveUp}; then runs that need them fail.`,
  )
}

/** Of two SuperLinks that begin at once, the first one marks the folder. The mark appears with its content. */
async function putMarker(path: string, owner: string): Promise<void> {
  const written = `${path}.${randomUUID()}`
  try {
    await writeFile(written, `${JSON.stringify({ owner })}\n`, { mode: 0o600, flush: true })
    // Some file systems that machines share have no links.
    await link(written, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw error
      return copyFile(written, path, constants.COPYFILE_EXCL)
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(written, { force: true })
  }
}

/** Returns the id of the database whose objects the folder has: empty if its mark has none, `undefined` if it has no mark. */
async function readMarker(path: string): Promise<string | undefined> {
  try {
    return /"owner"\s*:\s*"([^"]+)"/.exec(await readFile(path, 'utf8'))?.[1] ?? ''
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
