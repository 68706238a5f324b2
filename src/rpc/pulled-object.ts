import { FileContent } from '../base/file-content.ts'
import { withContent } from './outgoing.ts'

/** What a response to PullObject says of an object: unknown, announced but not here yet, or here. */
export function pulledObject(object: { readonly content: Uint8Array | FileContent | undefined } | undefined) {
  if (!object) return { objectFound: false, objectAvailable: false }
  const { content } = object
  if (!content) return { objectFound: true, objectAvailable: false }
  const found = { objectFound: true, objectAvailable: true }
  return content instanceof FileContent
    ? withContent(found, { field: 'objectContent', content })
    : { ...found, objectContent: content }
}
