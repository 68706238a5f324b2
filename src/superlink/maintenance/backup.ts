import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorText, UsageError } from '../../base/errors.ts'
import type { Main } from '../../base/program.ts'
import { openDatabase } from '../../db/database.ts'
import { openReadOnly, type ReadOnlyDatabase } from '../../db/read-only.ts'
import { objectsInFiles } from '../../objects/object-check.ts'
import { objectPath } from '../../objects/object-files.ts'
import type { ObjectSource } from '../../objects/object-source.ts'
import { folderPlace, notePlace } from '../object-place.ts'
import { checkState, contentText } from './check.ts'
import { backupRows, besideDatabase, parseStoredState, type StoredState, sourceOf } from './stored-state.ts'

const summary =
  'Copy the database and the stored objects of a SuperLink into a new folder: flower-superlink backup DIR.'

const ofPostgres =
  'of PostgreSQL, copy the database with pg_dump, and after it the folder of --storage-dir or the bucket.'

/** `flower-superlink backup DIR`: a copy that a SuperLink can be started from. The SuperLink may run meanwhile. */
export const backupCommand: Main = async (argv) => {
  const [folder, ...rest] = argv
  const isFolder = folder !== undefined && !folder.startsWith('-')
  const source = parseStoredState('flower-superlink backup', summary, backupRows, isFolder ? rest : argv, ofPostgres)
  if (!source) return 0
  if (!isFolder)
    throw new UsageError('Name the folder for the backup: flower-superlink backup DIR --database FILE.', {
      exitStatus: 2,
    })
  const copy = await backUp(source, folder)
  const check = await checkState(copy, (fault) => {
    throw new UsageError(`The backup ${folder} has a fault: ${fault} See flower-superlink check for the original.`)
  })
  process.stdout.write(
    `Backed up to ${copy.path} and ${copy.objects}. The backup was checked: ${contentText(check)}.\n` +
      `To restore, start the SuperLink with --database ${copy.path}, or copy both to the old place while it is stopped.\n`,
  )
  return 0
}

/**
 * Copies database and objects into a folder that does not exist or is empty, and returns where they are. Objects are copied
 * before the database, so that those the SuperLink deletes meanwhile are there; those that come meanwhile are copied after
 * it. If one came and went in between, all is done again. Throws a UsageError if that does not end.
 */
export async function backUp(source: StoredState, folder: string): Promise<StoredState> {
  await using db = openReadOnly(source.path)
  await ensureEmpty(folder)
  const path = join(folder, 'state.db')
  const copy = { path, objects: besideDatabase(path) }
  await mkdir(copy.objects, { recursive: true, mode: 0o700 })
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    await copyObjects(db, sourceOf(source), copy.objects)
    await rm(copy.path, { force: true })
    db.copyTo(copy.path)
    await using snapshot = openReadOnly(copy.path)
    const missing = await copyObjects(snapshot, sourceOf(source), copy.objects)
    if (missing === 0) {
      await removeOthers(snapshot, copy.objects)
      if (source.bucket) await noteFolder(copy.path)
      return copy
    }
  }
  throw new UsageError(
    `The state of ${source.path} changes too quickly for a backup: try again when fewer runs are active.`,
  )
}

const attemptsMax = 10

/** The objects of the copy are in a folder, wherever those of the original are. */
async function noteFolder(path: string): Promise<void> {
  await using db = openDatabase({ path })
  await notePlace(db, folderPlace)
}

async function ensureEmpty(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    if ((await readdir(folder)).length === 0) return
  } catch (error) {
    throw new UsageError(`The folder ${folder} cannot be used for a backup (${errorText(error)}): name another one.`)
  }
  throw new UsageError(`The folder ${folder} is not empty: name a new folder for the backup.`)
}

/** Copies the objects of this database that are not there yet, and returns how many have gone meanwhile. */
export async function copyObjects(
  { read }: Pick<ReadOnlyDatabase, 'read'>,
  from: ObjectSource,
  to: string,
): Promise<number> {
  let missing = 0
  for await (const id of objectsInFiles(read)) {
    const target = objectPath(to, id)
    if (await exists(target)) continue
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    if (!(await from.copyTo(id, target))) missing++
  }
  return missing
}

/** Removes copies of objects that were deleted before the database was copied. */
async function removeOthers({ read }: ReadOnlyDatabase, folder: string): Promise<void> {
  const needed = new Set<string>()
  for await (const id of objectsInFiles(read)) needed.add(id)
  for (const shard of await readdir(folder))
    for (const id of await readdir(join(folder, shard)))
      if (!needed.has(id)) await rm(objectPath(folder, id), { force: true })
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
