import { join } from 'node:path'
import { Bell, lookAgain } from '../base/bell.ts'
import { DomainError } from '../base/errors.ts'
import type { FileContent } from '../base/file-content.ts'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { KeyedTurns } from '../base/keyed-turns.ts'
import { limits } from '../base/limits.ts'
import type { AfterCommit, Database, Db } from '../db/database.ts'
import { type IdList, inBatches } from '../db/id-list.ts'
import { type CarriedObject, type CarriedObjects, inPieces, nothingCarried } from './carried-objects.ts'
import { typeOfFile } from './incoming-object.ts'
import { LeftObjects } from './left-objects.ts'
import { deleteParts, listParts, mayHaveMore } from './message-parts.ts'
import { announceNamed } from './named-objects.ts'
import { ObjectFiles } from './object-files.ts'
import { parseObject } from './object-format.ts'
import type { ObjectPlace } from './object-place.ts'
import {
  deleteUnnamed,
  findContents,
  findObject,
  findSizes,
  isAvailable,
  isInFile,
  listChunks,
  type StoredContent,
  storeCarried,
  storeContent,
} from './object-rows.ts'
import { SharedContents } from './shared-contents.ts'
import { type StorageNotices, storageRefusal } from './storage-refusal.ts'
import type { NamedObjects, ObjectKind, ObjectStore, ObjectWait, SentObject, StoredObject } from './stored-objects.ts'

export type { NamedObjects, ObjectKind, ObjectStore, ObjectWait, StoredObject } from './stored-objects.ts'

export interface ObjectStoreOptions extends StorageNotices {
  readonly db: Database
  readonly directory: string
  /** Whether content must survive a power cut before `put` returns. */
  readonly durable: boolean
  /** Where large objects are; by default in the folder. */
  readonly bucket?: ObjectPlace | undefined
  /** Called for announced objects that have come, within the transaction that stores them. */
  readonly onStored?: (tx: Db, afterCommit: AfterCommit, objectIds: readonly string[]) => Promise<void>
}

/**
 * Opens the store and removes what a crash left behind: unfinished uploads and files that no row names. A bucket takes longer
 * to list: the caller removes its orphans while it works.
 */
export async function createObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  const store = new FileObjectStore(options)
  await store.prepare()
  if (!options.bucket) await store.removeOrphans()
  return store
}

class FileObjectStore implements ObjectStore {
  readonly left: LeftObjects
  readonly #db: Database
  readonly #files: ObjectPlace
  readonly #onStored: ObjectStoreOptions['onStored']
  readonly #notices: StorageNotices
  readonly #arrived = new Bell<string>()
  readonly #shared = new SharedContents()
  /** Uploads and deletions of one object take turns. */
  readonly #turns = new KeyedTurns<string>()

  constructor(options: ObjectStoreOptions) {
    this.#db = options.db
    // Emptied at each start.
    this.left = new LeftObjects(join(options.directory, 'incoming'))
    this.#files = options.bucket ?? new ObjectFiles(options.directory, options.durable)
    this.#onStored = options.onStored
    this.#notices = options
  }

  prepare(): Promise<void> {
    return this.#files.prepare()
  }

  async removeOrphans(signal?: AbortSignal): Promise<void> {
    for await (const id of this.#files.list()) {
      if (signal?.aborted) return
      await this.#turns.inTurn(id, () => this.#deleteUnlessStored(id))
    }
  }

  async announce(tx: Db, messageId: string, objectIds: readonly string[]): Promise<string[]> {
    const missing = await announceNamed(tx, [{ messageId, objectIds }], nothingCarried)
    return objectIds.filter((id) => missing.has(id))
  }

  async put(
    objectId: string,
    content: Uint8Array | IncomingFile,
    isWanted: (db: Db) => Promise<boolean> = async () => true,
  ): Promise<'stored' | 'unknown' | 'mismatch'> {
    const { length } = content
    if (length > limits.objectBytesMax)
      throw new DomainError('object-malformed', `An object has ${length} bytes, more than ${limits.objectBytesMax}.`)
    if ((content instanceof IncomingFile ? content.sha256 : await sha256InTurns(content)) !== objectId)
      return 'mismatch'
    const type = content instanceof IncomingFile ? await typeOfFile(content) : parseObject(content).type
    return this.#turns.inTurn(objectId, async () => {
      const isStored = await isAvailable(this.#db.read, objectId)
      if (isStored === undefined) return 'unknown'
      if (isStored) return 'stored'
      if (!(content instanceof IncomingFile) && length <= limits.objectInlineBytesMax)
        return this.#markStored(objectId, { size: length, type, content }, isWanted)
      try {
        await this.#files.keep(objectId, content)
        const outcome = await this.#markStored(objectId, { size: length, type, content: null }, isWanted)
        if (outcome === 'stored') return outcome
      } catch (error) {
        await this.#deleteUnlessStored(objectId).catch(() => {})
        throw storageRefusal(error, length, this.#notices)
      }
      // Released while the file was written.
      await this.#deleteUnlessStored(objectId)
      return 'unknown'
    })
  }

  openFile(): Promise<IncomingFile | undefined> {
    return this.#files.openIncoming((error, bytes) => storageRefusal(error, bytes, this.#notices))
  }

  async announceAll(
    tx: Db,
    afterCommit: AfterCommit,
    messages: readonly NamedObjects[],
    carried: CarriedObjects,
    options: { readonly manyWillAsk?: boolean } = {},
  ): Promise<ReadonlySet<string>> {
    const came = new Map<string, CarriedObject>()
    for (const { objectIds } of messages) {
      for (const id of objectIds) {
        const object = carried.get(id)
        if (object) came.set(id, object)
      }
    }
    for (const some of inPieces([...came.values()])) {
      const expected = await storeCarried(tx, some)
      if (expected.length > 0) await this.#tellStored(tx, afterCommit, expected)
    }
    if (options.manyWillAsk)
      afterCommit(() => {
        // A copy: these bytes are part of the body of a request.
        for (const { id, bytes } of came.values()) this.#shared.keep(id, bytes.slice(), this.#shared.deletions)
      })
    return announceNamed(tx, messages, carried)
  }

  #markStored(
    objectId: string,
    stored: StoredContent,
    isWanted: (db: Db) => Promise<boolean>,
  ): Promise<'stored' | 'unknown'> {
    return this.#db.transaction(async (tx, afterCommit) => {
      if (!(await isWanted(tx))) return 'unknown'
      return (await this.#update(tx, afterCommit, objectId, stored)) ? 'stored' : 'unknown'
    })
  }

  /** Returns whether the object is still announced. */
  async #update(tx: Db, afterCommit: AfterCommit, objectId: string, stored: StoredContent): Promise<boolean> {
    if (!(await storeContent(tx, objectId, stored))) return false
    await this.#tellStored(tx, afterCommit, [objectId])
    return true
  }

  async #tellStored(tx: Db, afterCommit: AfterCommit, objectIds: readonly string[]): Promise<void> {
    afterCommit(() => {
      for (const id of objectIds) this.#arrived.ring(id)
    })
    await this.#onStored?.(tx, afterCommit, objectIds)
  }

  async has(objectId: string): Promise<boolean> {
    return (await isAvailable(this.#db.read, objectId)) === true
  }

  get(objectId: string, wait?: ObjectWait): Promise<StoredObject | undefined> {
    return this.#find(objectId, wait, (size) => this.#readFile(objectId, size, wait))
  }

  open(objectId: string, wait?: ObjectWait): Promise<SentObject | undefined> {
    return this.#find<Uint8Array | FileContent>(objectId, wait, async (size) =>
      size > limits.objectInMemoryBytesMax ? this.#files.content(objectId, size) : this.#readFile(objectId, size, wait),
    )
  }

  /** A file that is missing was deleted since the look at its row. */
  async #readFile(objectId: string, size: number, wait: ObjectWait | undefined): Promise<Uint8Array | undefined> {
    await wait?.makeRoom?.(size)
    return this.#files.read(objectId)
  }

  async #find<C>(
    objectId: string,
    wait: ObjectWait | undefined,
    readFile: (size: number) => Promise<C | undefined>,
  ): Promise<{ readonly content: Uint8Array | C | undefined } | undefined> {
    const look = async () => {
      const shared = this.#shared.find(objectId)
      if (shared) return { content: shared }
      const { deletions } = this.#shared
      const row = await findObject(this.#db.read, objectId)
      if (!row) return undefined
      if (row.available === 0) return 'not-yet' as const
      if (!row.content) return { content: await readFile(row.size) }
      this.#shared.keep(objectId, row.content, deletions)
      return { content: row.content }
    }
    if (!wait || wait.waitMs <= 0) {
      const found = await look()
      return found === 'not-yet' ? { content: undefined } : found
    }
    const found = await lookAgain(
      this.#arrived,
      objectId,
      async () => {
        const seen = await look()
        return seen === 'not-yet' ? undefined : { seen }
      },
      wait,
    )
    return found ? found.seen : { content: undefined }
  }

  async sizesOf(objectIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>()
    for (const [id, { length }] of this.#shared.findAll(objectIds)) sizes.set(id, length)
    for (const ids of inBatches(objectIds.filter((id) => !sizes.has(id))))
      for (const [id, size] of await findSizes(this.#db.read, ids)) sizes.set(id, size)
    return sizes
  }

  async contentsOf(objectIds: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const contents = new Map(this.#shared.findAll(objectIds))
    for (const ids of inBatches(objectIds.filter((id) => !contents.has(id)))) {
      for (const [id, inRow] of await findContents(this.#db.read, ids)) {
        const content = inRow ?? (await this.#files.read(id))
        if (content) contents.set(id, content)
      }
    }
    return contents
  }

  async listKinds(objectIds: readonly string[]): Promise<ReadonlyMap<string, ObjectKind>> {
    const kinds = new Map<string, ObjectKind>()
    for (const ids of inBatches(objectIds)) {
      for (const { id, isChunk } of await listChunks(this.#db.read, ids)) kinds.set(id, isChunk ? 'chunk' : 'other')
    }
    return kinds
  }

  async release(tx: Db, afterCommit: AfterCommit, messageIds: readonly string[]): Promise<void> {
    for (const ids of inBatches(messageIds)) {
      for (let isMore = true; isMore; ) {
        const named = await listParts(tx, ids)
        if (named.length === 0) break
        await deleteParts(tx, ids, named)
        const candidates = new Set(named.map((part) => part.object_id))
        for (const some of inBatches([...candidates])) await this.#deleteUnnamed(tx, afterCommit, some)
        isMore = mayHaveMore(named)
      }
    }
  }

  async #deleteUnnamed(tx: Db, afterCommit: AfterCommit, candidates: IdList): Promise<void> {
    const gone = await deleteUnnamed(tx, candidates)
    if (gone.length === 0) return
    afterCommit(() => {
      this.#shared.forget(gone.map(({ id }) => id))
      for (const { id } of gone) this.#arrived.ring(id)
      for (const { id, isFile } of gone) if (isFile) void this.#deleteFile(id)
    })
  }

  /** The object may have been announced and uploaded again since its row was deleted: then its file stays. */
  async #deleteFile(objectId: string): Promise<void> {
    await this.#turns.inTurn(objectId, () => this.#deleteUnlessStored(objectId)).catch(() => {})
  }

  /**
   * A file that no row points to is left from an upload that was not finished, or from before its object came again along
   * with a message.
   */
  async #deleteUnlessStored(objectId: string): Promise<void> {
    if (!(await isInFile(this.#db.read, objectId))) await this.#files.remove(objectId)
  }
}
