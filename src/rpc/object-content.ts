import { FileContent } from '../base/file-content.ts'
import { withContent } from './outgoing.ts'

/** The content of an object as it is sent: in memory, or in a file if it is large. */
export type ObjectContent = Uint8Array | FileContent

/** What a response to PullObject says of an object: unknown, announced but not here yet, or here. */
export function pulledObject(object: { readonly content: ObjectContent | undefined } | undefined) {
  if (!object) return { objectFound: false, objectAvailable: false }
  const { content } = object
  if (!content) return { objectFound: true, objectAvailable: false }
  return withObject({ objectFound: true, objectAvailable: true }, content)
}

/** Adds an object to a message with `object_content`. */
export function withObject<M extends object>(
  message: M,
  content: ObjectContent,
): M & { readonly objectContent?: Uint8Array } {
  return content instanceof FileContent
    ? withContent(message, { field: 'objectContent', content })
    : { ...message, objectContent: content }
}
