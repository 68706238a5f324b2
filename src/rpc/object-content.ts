import type { DescMessage } from '@bufbuild/protobuf'
import type { ContentSink } from '../base/content-sink.ts'
import { FileContent } from '../base/file-content.ts'
import type { IncomingFile } from '../base/incoming-file.ts'
import { ContentCut, type PlaceContent } from './content-cut.ts'
import type { Encoded } from './encode-in-turns.ts'
import { withContent } from './outgoing.ts'

/** The content of an object as it is sent: in memory, or in a file if it is large. */
export type ObjectContent = Uint8Array | FileContent

/**
 * What a response to PullObject says of an object: unknown, announced but not here yet, or here. An app that takes files gets the
 * path of a large object.
 */
export function pulledObject(
  object: { readonly content: ObjectContent | undefined } | undefined,
  { takesFile = false }: { readonly takesFile?: boolean } = {},
) {
  if (!object) return { objectFound: false, objectAvailable: false }
  const { content } = object
  if (!content) return { objectFound: true, objectAvailable: false }
  const objectFile = takesFile && content instanceof FileContent ? content.localPath : undefined
  if (objectFile !== undefined) return { objectFound: true, objectAvailable: true, objectFile }
  return withObject({ objectFound: true, objectAvailable: true }, content)
}

/** Adds an object to a message with `object_content`. An object in parts is sent without a copy. */
export function withObject<M extends object>(
  message: M,
  content: ObjectContent | Encoded,
): M & { readonly objectContent?: Uint8Array } {
  if (content instanceof Uint8Array) return { ...message, objectContent: content }
  return withContent(message, {
    field: 'objectContent',
    content: content instanceof FileContent ? [content] : content,
  })
}

/** Creates files for objects that arrive, e.g. an object store. Without a file an object is kept in memory. */
export interface FileMaker {
  openFile(): Promise<IncomingFile | undefined>
}

/** What takes a large object in a response while it arrives. */
export interface ContentTaker {
  /** Creates a file, see `receivedObject`. The caller disposes of it. */
  readonly files?: FileMaker | undefined
  /** Returns what takes an object of so many bytes. Called again if the call is made again. */
  readonly sinkFor?: ((length: number) => ContentSink) | undefined
}

export function cutResponse(desc: DescMessage, { files, sinkFor }: ContentTaker): ContentCut | undefined {
  if (sinkFor) return cutObject(desc, async (_before, length) => sinkFor(length))
  return files && cutObject(desc, async () => (await files.openFile()) ?? 'keep')
}

/** Takes a large object out of a message with `object_content` while the message arrives. */
export function cutObject(desc: DescMessage, place: PlaceContent): ContentCut | undefined {
  const field = desc.field.objectContent
  return field && new ContentCut(field.number, place)
}

const received = new WeakMap<object, IncomingFile>()

/** Adds the file that a large object was written to while its message arrived. */
export function attachReceived(message: object, cut: ContentCut | undefined): void {
  if (cut?.file) received.set(message, cut.file)
}

/** The object that came with a message: in memory, or in a file if it is large. */
export function receivedObject(message: { readonly objectContent: Uint8Array }): Uint8Array | IncomingFile {
  return received.get(message) ?? message.objectContent
}
