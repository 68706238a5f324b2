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
import { BucketError } from './bucket-errors.ts'
import type { BucketWatch } from './bucket-watch.ts'
import { claimCacheFolder } from './cache-folder.ts'
import { ObjectCache } from './object-cache.ts'

export interface BucketObjectsOptions {
  readonly bucket: Bucket
  readonly watch: BucketWatch
  /** The folder for copies, which may be lost at any time. */
  readonly directory: string
  readonly cacheBytesMax: number
  /** In milliseconds, from any start; for tests. */
  readonly monotonicNow?: () => number
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
  readonly #monotonicNow: () => number
  readonly #downloads = new Map<string, Promise<boolean>>()
  readonly #downloading = new AtOnce(limits.bucketDownloadsAtOnce)
  readonly #deleting = new AtOnce(limits.bucketDeletionsAtOnce)
  /** Copies that are being deleted. */
  readonly #evicting = new Map<string, Promise<void>>()
  /** When the response to a deletion was lost: for a while the deletion may still happen, and delete a new upload. */
  readonly #unsure = new Map<string, number>()
  /** Their uploads failed, and the store is about to remove them. */
  readonly #notKept = new Set<string>()

  constructor({
    bucket,
    watch,
    directory,
    cacheBytesMax,
    onRead,
    monotonicNow = () => performance.now(),
  }: BucketObjectsOptions) {
    this.#bucket = bucket
    this.#watch = watch
    this.#directory = directory
    // The copy that counts is in the bucket.
    this.#files = new ObjectFiles(directory, false)
    this.#cache = new ObjectCache(cacheBytesMax)
    this.#onRead = onRead
    this.#monotonicNow = monotonicNow
  }

  get cacheBytes(): number {
    return this.#cache.bytes
  }

  /** Finds the copies that an earlier start has left. */
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
  }

  openIncoming(explain: (error: unknown, bytes: number) => unknown): Promise<IncomingFile | undefined> {
    return this.#files.openIncoming(explain)
  }

  async keep(objectId: string, content: Uint8Array | IncomingFile): Promise<void> {
    using _ = this.#cache.pin(objectId)
    const { length } = content
    this.#ensureNotBeingDeleted(objectId)
    this.#notKept.delete(objectId)
    await this.#evicted(objectId)
    await this.#withRoom(length, () => this.#files.keep(objectId, content))
    this.#cache.add(objectId, length)
    try {
      await this.#watch.during('put', () => this.#bucket.put(objectId, this.#path(objectId), length))
    } catch (error) {
      if (this.#notKept.size < limits.bucketUnsureMax) this.#notKept.add(objectId)
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
    // If this deletion failed too, the next try of the upload would have to wait for its end.
    if (!this.#notKept.delete(objectId)) await this.#deleting.run(() => this.#removeFromBucket(objectId))
  }

  /** What stays in the bucket is removed by the next sweep. A bucket that refuses uploads may be full: room is made in it. */
  async #removeFromBucket(objectId: string): Promise<void> {
    const now = this.#monotonicNow()
    for (const [id, at] of this.#unsure) if (now - at >= limits.bucketAttemptMs) this.#unsure.delete(id)
    if (this.#watch.isInTrouble('delete') || this.#unsure.size >= limits.bucketUnsureMax) return
    try {
      await this.#watch.during('delete', () => this.#bucket.remove(objectId))
    } catch (error) {
      // A final error is a refusal.
      if (!(error instanceof BucketError && error.isFinal)) this.#unsure.set(objectId, this.#monotonicNow())
      throw error
    }
  }

  /** Throws a BucketError while a deletion of this object may still happen. */
  #ensureNotBeingDeleted(objectId: string): void {
    const at = this.#unsure.get(objectId)
    if (at === undefined || this.#monotonicNow() - at >= limits.bucketAttemptMs) return
    const sentence = `${this.#bucket.label} may still delete the object ${objectId}, because its response to the deletion was lost. The object is uploaded once that cannot happen any more.`
    throw new BucketError(sentence, { isFinal: false, isOutage: false })
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

  /** Callers that need the same object share its download. */
  #download(objectId: string): Promise<boolean> {
    const under = this.#downloads.get(objectId)
    if (under) return under
    const download = this.#downloading.run(() => this.#fetch(objectId)).finally(() => this.#downloads.delete(objectId))
    this.#downloads.set(objectId, download)
    return download
  }

  async #fetch(objectId: string): Promise<boolean> {
    await this.#evicted(objectId)
    const size = await this.#withRoom(0, () =>
      this.#files.receive(objectId, (path) => this.#watch.during('get', () => this.#bucket.download(objectId, path))),
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
    for (let id = this.#cache.evict(bytes); id !== undefined; id = this.#cache.evict(bytes)) await this.#deleteCopy(id)
  }

  async #deleteCopy(objectId: string): Promise<void> {
    const deletion = this.#files.remove(objectId)
    this.#evicting.set(objectId, deletion)
    try {
      await deletion
    } finally {
      this.#evicting.delete(objectId)
    }
  }

  /** Waits until a copy is gone that is being deleted: otherwise a new one would be deleted in its place. */
  async #evicted(objectId: string): Promise<void> {
    await this.#evicting.get(objectId)?.catch(() => {})
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
