import { DomainError } from '../base/errors.ts'
import { isDiskFull, unwritableReason } from '../base/full-disk.ts'

/** What a store reports of its folder. */
export interface StorageNotices {
  /** Called after a file of so many bytes was not written because the disk is full. */
  readonly onFull?: (bytes: number) => void
  /** Called after a file was not written for a reason that may go away. */
  readonly onUnwritable?: (reason: string) => void
}

/** Returns the refusal for an error while a file of so many bytes was written, and reports the error. */
export function storageRefusal(error: unknown, bytes: number, { onFull, onUnwritable }: StorageNotices): unknown {
  const reason = unwritableReason(error)
  if (reason !== undefined) {
    onUnwritable?.(reason)
    return new DomainError('unavailable', `Objects cannot be written: ${reason}.`, { cause: error })
  }
  if (!isDiskFull(error)) return error
  onFull?.(bytes)
  return new DomainError('storage-full', undefined, { cause: error })
}
