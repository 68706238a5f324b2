import { open, readFile, stat } from 'node:fs/promises'
import { AtOnce } from '../../base/at-once.ts'
import { DomainError } from '../../base/errors.ts'
import { FileContent } from '../../base/file-content.ts'
import { isDiskFull } from '../../base/full-disk.ts'
import type { IncomingFile } from '../../base/incoming-file.ts'
import { limits } from '../../base/limits.ts'
import { ObjectFiles, objectPath } from '../object-files.ts'
import type { ObjectPlace } from '../object-place.ts'
import type { Bucket } from './bucket.ts'
import type { BucketWatch } from './bucket-watch.ts'
import { claimCacheFolder } from './cache-folder.ts'
import { ObjectCache } from './object-cache.ts'

export interface BucketObjectsOptions {
  readonly bucket: Bucket
  readonly watch: BucketWatch
  /** The folder for copies, which may be lost at any time. */
  readonly directory: string
  readonly cacheBytesMax: number
  /** Called when an object is read. */
  readonly onRead?: (from: 'cache' | 'bucket') => void
}

/**
 * Large objects in a bucket, with copies in a folder of this machine: an object is sent to many nodes but downloaded once.
 * What was kept is in the bucket when `keep` returns. Copies are compared with the id when they are downloaded.
 */
export class BucketObjects implements ObjectPlace {
  readonly #bucket: Bucket
  readonly #watch: BucketWatch
  readonly #directory: string
  readonly #files: ObjectFiles
  readonly #cache: ObjectCache
  readonly #onRead: BucketObjectsOptions['onRead']
  readonly #downloads = new Map<string, Promise<boolean>>()
  readonly #downloading = new AtOnce(limits.bucketDownloadsAtOnce)

  constructor({ bucket, watch, directory, cacheBytesMax, onRead }: BucketObjectsOptions) {
    this.#bucket = bucket
    this.#watch = watch
    this.#directory = directory
    // The copy that counts is in the bucket.
    this.#files = new ObjectFiles(directory, false)
    this.#cache = new ObjectCache(cacheBytesMax)
    this.#onRead = onRead
  }

  get cacheBytes(): number {
    return this.#cache.bytes
  }

  /** Looks which copies an earlier start has left. */
  async prepare(): Promise<void> {
    await claimCacheFolder(this.#directory, this.#bucket.label)
    await this.#files.prepare()
    for await (const id of this.#files.list()) {
      const { size } = await stat(this.#path(id))
      this.#cache.add(id, size)
    }
    await this.#makeRoom(0)
  }

  async *list(): AsyncGenerator<string> {
    for await (const { id } of this.#bucket.list()) yield id
    await this.#bucket.abortUploadsOf(Date.now() - limits.bucketUploadMsMax)
  }

  openIncoming(explain: (error: unknown, bytes: number) => unknown): Promise<IncomingFile | undefined> {
    return this.#files.openIncoming(explain)
  }

  async keep(objectId: string, content: Uint8Array | IncomingFile): Promise<void> {
    using _ = this.#cache.pin(objectId)
    const { length } = content
    await this.#withRoom(length, () => this.#files.keep(objectId, content))
    this.#cache.add(objectId, length)
    try {
      await this.#watch.during(() => this.#bucket.put(objectId, this.#path(objectId), length))
    } catch (error) {
      this.#cache.forget(objectId)
      await this.#files.remove(objectId)
      throw error
    }
  }

  async read(objectId: string): Promise<Uint8Array | undefined> {
    await using file = await this.#open(objectId)
    return file && (await readFile(file))
  }

  content(objectId: string, length: number): FileContent {
    return new FileContent(this.#path(objectId), length, async () => {
      const file = await this.#open(objectId)
      if (!file) throw new DomainError('storage-unavailable', missing(this.#bucket.label, objectId))
      return file
    })
  }

  async remove(objectId: string): Promise<void> {
    this.#cache.forget(objectId)
    await this.#files.remove(objectId)
    // What stays in the bucket is removed by the next sweep.
    if (this.#watch.trouble === undefined) await this.#watch.during(() => this.#bucket.remove(objectId))
  }

  /** A copy may be deleted by hand at any time: then it is downloaded again. */
  async #open(objectId: string) {
    using _ = this.#cache.pin(objectId)
    const isHere = this.#cache.use(objectId)
    this.#onRead?.(isHere ? 'cache' : 'bucket')
    if (isHere) {
      const file = await openIfThere(this.#path(objectId))
      if (file) return file
      this.#cache.forget(objectId)
    }
    return (await this.#download(objectId)) ? open(this.#path(objectId), 'r') : undefined
  }

  /** All that wait for an object share its download. */
  #download(objectId: string): Promise<boolean> {
    const under = this.#downloads.get(objectId)
    if (under) return under
    const download = this.#downloading.run(() => this.#fetch(objectId)).finally(() => this.#downloads.delete(objectId))
    this.#downloads.set(objectId, download)
    return download
  }

  async #fetch(objectId: string): Promise<boolean> {
    const size = await this.#withRoom(0, () =>
      this.#files.receive(objectId, (path) => this.#watch.during(() => this.#bucket.download(objectId, path))),
    )
    if (size === undefined) return false
    this.#cache.add(objectId, size)
    await this.#makeRoom(0)
    return true
  }

  /** Makes room for copies, and makes more if the disk is full all the same. */
  async #withRoom<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    await this.#makeRoom(bytes)
    try {
      return await work()
    } catch (error) {
      if (!isDiskFull(error)) throw error
      await this.#makeRoom(Number.POSITIVE_INFINITY)
      return await work()
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    for (const id of this.#cache.makeRoom(bytes)) await this.#files.remove(id)
  }

  #path(objectId: string): string {
    return objectPath(this.#directory, objectId)
  }
}

function missing(label: string, objectId: string): string {
  return `The object ${objectId} is missing in ${label}: restore it from a backup, or stop its run.`
}

async function openIfThere(path: string) {
  try {
    return await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
