import { DomainError } from '../base/errors.ts'
import type { IncomingFile } from '../base/incoming-file.ts'
import { type ObjectType, parseHead } from './object-format.ts'

/** The head of most objects has some dozen bytes; each child adds 65. */
const headBytes = 64 * 1024

/** Returns the type of an object that was written to a file. Only the head of the object is read. */
export async function typeOfFile(file: IncomingFile): Promise<ObjectType> {
  for (let read = headBytes; ; read *= 4) {
    const head = parseHead(await file.first(Math.min(read, file.length)), file.length)
    if (head) return head.type
    if (read >= file.length) throw new DomainError('object-malformed', 'Malformed object: no head.')
  }
}
