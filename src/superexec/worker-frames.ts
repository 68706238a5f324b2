import type { Duplex } from 'node:stream'

/**
 * Frames between a SuperExec and a Python worker: a number of parts, the length of each, and the parts. All numbers are
 * unsigned, 4 bytes, the highest first.
 */

const numberBytes = 4

export function writeFrame(stream: Duplex, parts: readonly Uint8Array[]): void {
  const head = Buffer.alloc(numberBytes * (1 + parts.length))
  head.writeUInt32BE(parts.length)
  parts.forEach(({ length }, index) => {
    head.writeUInt32BE(length, numberBytes * (1 + index))
  })
  for (const bytes of [head, ...parts]) stream.write(bytes)
}

export interface FrameLimits {
  readonly partsMax: number
  readonly bytesMax: number
}

/**
 * Reads frames from a process that runs code of an app. A frame beyond the limits is reported as undefined; nothing is read
 * after it.
 */
export function readFrames(
  stream: Duplex,
  { partsMax, bytesMax }: FrameLimits,
  onFrame: (parts: Uint8Array[] | undefined) => void,
): void {
  let chunks: Buffer[] = []
  let size = 0
  /** How many bytes are needed before there is anything to do. */
  let wanted = numberBytes
  const look = (): boolean => {
    const head = Buffer.concat(chunks, size)
    chunks = [head]
    const count = head.readUInt32BE()
    const headBytes = numberBytes * (1 + count)
    if (count > partsMax) return refuse()
    if (size < headBytes) return wait(headBytes)
    const lengths = Array.from({ length: count }, (_, index) => head.readUInt32BE(numberBytes * (1 + index)))
    const end = headBytes + lengths.reduce((sum, length) => sum + length, 0)
    if (end > bytesMax) return refuse()
    if (size < end) return wait(end)
    let offset = headBytes
    const parts = lengths.map((length) => {
      offset += length
      return head.subarray(offset - length, offset)
    })
    const rest = head.subarray(end)
    chunks = rest.length > 0 ? [rest] : []
    size = rest.length
    wanted = numberBytes
    onFrame(parts)
    return size >= wanted
  }
  const wait = (bytes: number): false => {
    wanted = bytes
    return false
  }
  const refuse = (): false => {
    stream.destroy()
    onFrame(undefined)
    return false
  }
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    while (size >= wanted && !stream.destroyed && look()) {}
  })
  // The other end is gone: how its process ended tells more.
  stream.on('error', () => {})
}
