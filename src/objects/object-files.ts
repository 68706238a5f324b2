import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FileContent } from '../base/file-content.ts'

/**
 * The files of large objects, by id. A file appears whole or not at all. Which files should be there is decided by the rows
 * of the object store.
 */
export class ObjectFiles {
  readonly #directory: string
  readonly #durable: boolean

  /** `durable`: whether `write` returns only when the file would survive a power cut. */
  constructor(directory: string, durable: boolean) {
    this.#directory = directory
    this.#durable = durable
  }

  /** Creates the folder and removes unfinished files. */
  async prepare(): Promise<void> {
    await rm(this.#incoming(), { recursive: true, force: true })
    await mkdir(this.#incoming(), { recursive: true, mode: 0o700 })
  }

  async *list(): AsyncGenerator<string> {
    for (const shard of await readdir(this.#directory))
      if (shard.length === 2) yield* await readdir(join(this.#directory, shard))
  }

  async write(objectId: string, bytes: Uint8Array): Promise<void> {
    const temporary = join(this.#incoming(), randomUUID())
    const shard = join(this.#directory, objectId.slice(0, 2))
    await mkdir(shard, { recursive: true, mode: 0o700 })
    try {
      const file = await open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(bytes)
        if (this.#durable) await file.datasync()
      } finally {
        await file.close()
      }
      await rename(temporary, this.#path(objectId))
    } catch (error) {
      // E.g. the disk is full: half a file would keep it so.
      await rm(temporary, { force: true }).catch(() => {})
      throw error
    }
    if (this.#durable) await syncDirectory(shard)
  }

  async read(objectId: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(objectId))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** A file to be sent. */
  content(objectId: string, length: number): FileContent {
    return new FileContent(this.#path(objectId), length)
  }

  remove(objectId: string): Promise<void> {
    return rm(this.#path(objectId), { force: true })
  }

  #incoming(): string {
    return join(this.#directory, 'incoming')
  }

  #path(objectId: string): string {
    return objectPath(this.#directory, objectId)
  }
}

/** The file of an object. */
export function objectPath(directory: string, objectId: string): string {
  return join(directory, objectId.slice(0, 2), objectId)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
