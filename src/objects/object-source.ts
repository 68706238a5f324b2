import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, link, open, stat } from 'node:fs/promises'
import { errorText, UsageError } from '../base/errors.ts'
import type { Bucket } from './bucket/bucket.ts'
import { objectPath } from './object-files.ts'

/** Stored objects, for commands that look at them while a SuperLink may run. */
export interface ObjectSource {
  /** Returns what is wrong with an object, or `undefined`. */
  faultOf(objectId: string, size: number): Promise<string | undefined>
  /** Copies an object into a file that does not exist, and returns whether it was there. */
  copyTo(objectId: string, target: string): Promise<boolean>
}

export function folderSource(directory: string): ObjectSource {
  const pathOf = (objectId: string): string => objectPath(directory, objectId)
  return {
    faultOf: (objectId, size) => fileFault(pathOf(objectId), objectId, size),
    copyTo: (objectId, target) => copyObject(pathOf(objectId), target),
  }
}

export function bucketSource(bucket: Bucket): ObjectSource {
  return {
    async faultOf(objectId) {
      try {
        return (await bucket.verify(objectId)) ? undefined : `is missing in ${bucket.label}`
      } catch (error) {
        return `cannot be read: ${errorText(error)}`
      }
    },
    async copyTo(objectId, target) {
      if (!(await bucket.download(objectId, target))) return false
      await syncFile(target)
      return true
    },
  }
}

async function fileFault(path: string, id: string, size: number): Promise<string | undefined> {
  try {
    const found = (await stat(path)).size
    if (found !== size) return `has ${found} bytes instead of ${size} in ${path}`
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
    return hash.digest('hex') === id ? undefined : `is damaged in ${path}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return `is missing: there is no file ${path}`
    return `cannot be read from ${path} (${errorText(error)})`
  }
}

/** Object files never change, so a second name is a copy; on another disk the bytes are copied. */
async function copyObject(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch(async () => {
      await copyFile(from, to)
      await syncFile(to)
    })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw new UsageError(`The object file ${from} cannot be copied: ${errorText(error)}.`)
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}
