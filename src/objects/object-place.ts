import type { FileContent } from '../base/file-content.ts'
import type { IncomingFile } from '../base/incoming-file.ts'

/** Where large objects are: a folder, or a bucket. Which objects should be there is decided by the rows of the object store. */
export interface ObjectPlace {
  /** Makes it ready for use, without what a crash left unfinished. */
  prepare(): Promise<void>
  /** Ids of all objects that are there. */
  list(): AsyncGenerator<string>
  /** Creates a file for an object that arrives, for `keep`; `undefined` while as many are open as may be. */
  openIncoming(explain: (error: unknown, bytes: number) => unknown): Promise<IncomingFile | undefined>
  /** Returns when the object is as durable as the place is. Keeping an object again does no harm. */
  keep(objectId: string, content: Uint8Array | IncomingFile): Promise<void>
  /** `undefined` if it is not there. */
  read(objectId: string): Promise<Uint8Array | undefined>
  /** An object that is sent. It is opened before the first byte is sent. */
  content(objectId: string, length: number): FileContent
  /** Does nothing if it is not there. */
  remove(objectId: string): Promise<void>
}
