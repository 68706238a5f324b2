import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FileContent } from '../base/file-content.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { type Disk, DiskSyncs } from './disk-syncs.ts'
import type { ObjectPlace } from './object-place.ts'

/**
 * The files of large objects, by id. A file appears whole or not at all. Which files should be there is decided by the rows
 * of the object store.
 */
export class ObjectFiles implements ObjectPlace {
  readonly #directory: string
  /** Folders that exist and whose names are on disk, or are about to be: at most 256. */
  readonly #shards = new Map<string, Promise<void>>()
  /** Absent if files need not survive a power cut. */
  readonly #syncs: DiskSyncs | undefined

  /** Files of objects that arrive. */
  #arriving = 0

  /** `durable`: whether `keep` returns only when the file would survive a power cut. `on` is for tests. */
  constructor(directory: string, durable: boolean, on?: Disk) {
    this.#directory = directory
    this.#syncs = durable ? new DiskSyncs(on) : undefined
  }

  /** Creates the folder and removes unfinished files. */
  async prepare(): Promise<void> {
    await rm(this.#incoming(), { recursive: true, force: true })
    await mkdir(this.#incoming(), { recursive: true, mode: 0o700 })
    // The name of the folder itself, which may be new.
    await this.#syncs?.syncFolder(dirname(this.#directory))
  }

  async *list(): AsyncGenerator<string> {
    for (const shard of await readdir(this.#directory))
      if (shard.length === 2) yield* await readdir(join(this.#directory, shard))
  }

  /** Creates a file for an object that arrives; returns `undefined` while as many are open as may be. */
  async openIncoming(explain: (error: unknown, bytes: number) => unknown): Promise<IncomingFile | undefined> {
    if (this.#arriving >= limits.incomingFilesMax) return undefined
    this.#arriving += 1
    const onClosed = (): void => {
      this.#arriving -= 1
    }
    return IncomingFile.create(this.#temporary(), { explain, onClosed })
  }

  /** Writes the file of an object; a content that was written while it arrived is moved to its place. */
  async keep(objectId: string, content: Uint8Array | IncomingFile): Promise<void> {
    const shard = join(this.#directory, objectId.slice(0, 2))
    await this.#makeShard(shard)
    try {
      if (content instanceof Uint8Array) await this.#write(objectId, content)
      else {
        await this.#syncs?.syncFile(content.handle)
        await content.moveTo(this.#path(objectId))
      }
    } catch (error) {
      // It may have been removed.
      this.#shards.delete(shard)
      throw error
    }
    await this.#syncs?.syncFolder(shard)
  }

  async #write(objectId: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.#temporary()
    try {
      const file = await open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(bytes)
        await this.#syncs?.syncFile(file)
      } finally {
        await file.close()
      }
      await rename(temporary, this.#path(objectId))
    } catch (error) {
      // E.g. the disk is full: half a file would keep it so.
      await rm(temporary, { force: true }).catch(() => {})
      throw error
    }
  }

  /** A folder that an earlier process made may not be on disk yet either. */
  async #makeShard(shard: string): Promise<void> {
    const known = this.#shards.get(shard)
    if (known) return known
    const made = mkdir(shard, { recursive: true, mode: 0o700 }).then(() => this.#syncs?.syncFolder(this.#directory))
    this.#shards.set(shard, made)
    await made.catch((error: unknown) => {
      this.#shards.delete(shard)
      throw error
    })
  }

  /** Puts a file in place that `fill` writes, unless it returns `false`. Returns its size. */
  async receive(objectId: string, fill: (path: string) => Promise<boolean>): Promise<number | undefined> {
    const temporary = join(this.#incoming(), randomUUID())
    try {
      if (!(await fill(temporary))) return undefined
      const { size } = await stat(temporary)
      await mkdir(join(this.#directory, objectId.slice(0, 2)), { recursive: true, mode: 0o700 })
      await rename(temporary, this.#path(objectId))
      return size
    } finally {
      await rm(temporary, { force: true }).catch(() => {})
    }
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

  #temporary(): string {
    return join(this.#incoming(), randomUUID())
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
