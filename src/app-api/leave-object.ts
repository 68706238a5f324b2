import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Larger writes cost more: the system copies memory that the processor has dropped from its cache. */
const pieceBytesMax = 256 * 1024

/**
 * Writes an object as a file into the folder of a server on this machine. Returns false if that is not possible, e.g. because the
 * folder is in another container or the disk is full.
 */
export async function leaveObject(folder: string, objectId: string, parts: readonly Uint8Array[]): Promise<boolean> {
  const path = join(folder, objectId)
  try {
    const file = await open(path, 'w', 0o600)
    try {
      for (const part of parts) {
        for (let start = 0; start < part.length; start += pieceBytesMax)
          await file.writeFile(part.subarray(start, start + pieceBytesMax))
      }
    } finally {
      await file.close()
    }
    return true
  } catch {
    // Half a file would keep the disk full.
    await rm(path, { force: true }).catch(() => {})
    return false
  }
}
