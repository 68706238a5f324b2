import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { printable, shortened } from '../base/printable.ts'
import { readZip, ZipFault } from '../base/zip-read.ts'
import { memberPathFault } from './member-paths.ts'

/** Reads the files of an untrusted FAB. Throws `fab-invalid` with what is wrong. */
export async function readMembers(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  const { fabBytesMax: bytesMax, fabFilesMax: membersMax } = limits
  try {
    return await readZip(bytes, { bytesMax, membersMax, pathFault: memberPathFault })
  } catch (error) {
    throw error instanceof ZipFault ? invalid(error.message) : error
  }
}

/** Its sentence goes to logs and terminals, and may hold names from the bundle. */
export function invalid(what: string): DomainError {
  return new DomainError('fab-invalid', `Invalid FAB: ${shortened(printable(what), 500)}.`)
}
