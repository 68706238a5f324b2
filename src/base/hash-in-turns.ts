import { createHash, hash } from 'node:crypto'
import { takeTurns } from './turns.ts'

/** What is hashed in one go: some milliseconds also for a processor without instructions for SHA-256. */
const pieceBytes = 512 * 1024

/** The SHA-256 of many megabytes, in lowercase hexadecimal; other work goes on meanwhile. */
export async function sha256InTurns(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= pieceBytes) return hash('sha256', bytes, 'hex')
  const turn = takeTurns()
  const sum = createHash('sha256')
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    sum.update(bytes.subarray(start, start + pieceBytes))
    await turn()
  }
  return sum.digest('hex')
}
