import { constants } from 'node:fs'
import { lstat, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DomainError } from '../base/errors.ts'
import { FileContent } from '../base/file-content.ts'
import type { TaskId } from '../base/ids.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { isObjectId } from './object-format.ts'

/**
 * Large objects that apps of this machine leave as files, so that their bytes go over no connection. Each task has a folder of
 * its own until it is removed. Peers name no paths: a file has the id of its object as its name.
 */
export class LeftObjects {
  readonly #directory: string
  /** Tasks that have a folder. */
  readonly #tasks = new Set<TaskId>()
  /** Files that are open. */
  #taken = 0

  /** @param directory is on the disk of the object store, so that files can be moved there. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** Creates the folder of a task. Returns `undefined` if that is not possible, e.g. because the disk is full. */
  async folderOf(taskId: TaskId): Promise<string | undefined> {
    const folder = this.#folder(taskId)
    this.#tasks.add(taskId)
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      return folder
    } catch {
      return undefined
    }
  }

  /** Takes a file for the object store. The caller disposes of it. Returns `undefined` if there is none, or too many are open. */
  async take(taskId: TaskId, objectId: string): Promise<IncomingFile | undefined> {
    if (!this.#tasks.has(taskId) || this.#taken >= limits.incomingFilesMax) return undefined
    const path = this.#path(taskId, objectId)
    this.#taken += 1
    const onClosed = (): void => {
      this.#taken -= 1
    }
    try {
      return await IncomingFile.adopt(path, limits.objectBytesMax, { onClosed })
    } catch {
      return undefined
    }
  }

  /** The size of a file that is to stay where it is; `undefined` if there is none. */
  async sizeOf(taskId: TaskId, objectId: string): Promise<number | undefined> {
    if (!this.#tasks.has(taskId)) return undefined
    const found = await lstat(this.#path(taskId, objectId)).catch(() => undefined)
    return found?.isFile() && found.size <= limits.objectBytesMax ? found.size : undefined
  }

  /** A file to be sent. */
  content(taskId: TaskId, objectId: string, length: number): FileContent {
    const path = this.#path(taskId, objectId)
    return new FileContent(path, length, () => open(path, constants.O_RDONLY | constants.O_NOFOLLOW))
  }

  /** Deletes what a task has left. Does nothing if the task has no folder. */
  async remove(taskId: TaskId): Promise<void> {
    if (this.#tasks.delete(taskId)) await rm(this.#folder(taskId), { recursive: true, force: true })
  }

  #folder(taskId: TaskId): string {
    return join(this.#directory, `task-${taskId}`)
  }

  #path(taskId: TaskId, objectId: string): string {
    if (!isObjectId(objectId)) throw new DomainError('invalid-request', 'An object has an invalid id.')
    return join(this.#folder(taskId), objectId)
  }
}
