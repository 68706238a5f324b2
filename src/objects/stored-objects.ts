import type { FileContent } from '../base/file-content.ts'
import type { IncomingFile } from '../base/incoming-file.ts'
import type { MakeRoom } from '../base/make-room.ts'
import type { AfterCommit, Db } from '../db/database.ts'
import type { CarriedObjects } from './carried-objects.ts'
import type { LeftObjects } from './left-objects.ts'

/**
 * Content-addressed objects. They are announced with the message that they are part of, then uploaded once, and live as
 * long as a message names them. Small ones live in their database row, bigger ones are files.
 */
export interface ObjectStore {
  /** Announces the objects of a message, within a transaction; returns those whose content is missing, in the order given. */
  announce(tx: Db, messageId: string, objectIds: readonly string[]): Promise<string[]>
  /**
   * As `announce`, for several messages. Those of the objects that came with them are stored in the same transaction. Returns
   * those whose content is missing.
   *
   * @param options.manyWillAsk whether the objects are asked for right after the commit: then they stay in memory for a while.
   */
  announceAll(
    tx: Db,
    afterCommit: AfterCommit,
    messages: readonly NamedObjects[],
    carried: CarriedObjects,
    options?: { readonly manyWillAsk?: boolean },
  ): Promise<ReadonlySet<string>>
  /**
   * Stores the content of an announced object and returns when it is durable. `unknown`: no message names the object (any
   * more). `mismatch`: the bytes have another hash. Throws `object-malformed` if they are no object or too large.
   *
   * @param isWanted whether the sender's own message still names the object; asked in the transaction that stores. Without it
   *   any message will do.
   */
  put(
    objectId: string,
    content: Uint8Array | IncomingFile,
    isWanted?: (db: Db) => Promise<boolean>,
  ): Promise<'stored' | 'unknown' | 'mismatch'>
  /**
   * Creates a file for a large object that arrives, for `put`. The caller disposes of it. Returns `undefined` while too many
   * are open.
   */
  openFile(): Promise<IncomingFile | undefined>
  /** Objects that apps of this machine leave as files, for `put`. */
  readonly left: LeftObjects
  /** Whether the content is here. */
  has(objectId: string): Promise<boolean>
  /** `undefined` when unknown; without `content` when announced but not here yet. Waits up to `waitMs` for the content. */
  get(objectId: string, wait?: ObjectWait): Promise<StoredObject | undefined>
  /** The same for an object that is sent on: a large one is read from its file while it is sent. */
  open(objectId: string, wait?: ObjectWait): Promise<SentObject | undefined>
  /** Returns the sizes of those of these objects that are here. */
  sizesOf(objectIds: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Returns the contents of those of these objects that are here: of few and small ones. */
  contentsOf(objectIds: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>
  /** Those of these objects that are here, and whether each is a chunk of an array. */
  listKinds(objectIds: readonly string[]): Promise<ReadonlyMap<string, ObjectKind>>
  /** Lets go of messages; objects that no message names any more are deleted after commit. */
  release(tx: Db, afterCommit: AfterCommit, messageIds: readonly string[]): Promise<void>
  /** Deletes what is stored of objects that no message names: left from a crash, or from a deletion that failed. */
  removeOrphans(signal?: AbortSignal): Promise<void>
}

/** A message and the objects that it is made of. */
export interface NamedObjects {
  readonly messageId: string
  readonly objectIds: readonly string[]
}

export interface ObjectWait {
  readonly waitMs: number
  readonly signal?: AbortSignal
  /** Called with the size before the content is read, which waits for it. */
  readonly makeRoom?: MakeRoom
}

export type ObjectKind = 'chunk' | 'other'

export interface StoredObject {
  readonly content: Uint8Array | undefined
}

export interface SentObject {
  readonly content: Uint8Array | FileContent | undefined
}
