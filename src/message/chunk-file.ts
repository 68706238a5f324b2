import type { FileHandle } from 'node:fs/promises'
import { DomainError } from '../base/errors.ts'
import { parseHead } from '../objects/object-format.ts'
import type { ChunkTarget } from './arriving-arrays.ts'

/** The head of a chunk has some 20 bytes. */
const headBytesMax = 1024

/**
 * Reads the body of a chunk from its file to its place. The bytes are not hashed: the server that names the file has done that.
 * Throws if the file is no chunk.
 */
export async function readChunkFile(id: string, file: FileHandle, target: ChunkTarget): Promise<void> {
  const { size } = await file.stat()
  const start = await readAll(file, Buffer.allocUnsafe(Math.min(size, headBytesMax)), 0)
  const head = parseHead(start, size)
  if (head?.type !== 'ArrayChunk')
    throw new DomainError('object-malformed', `Object ${id} is not the chunk of an array.`)
  const body = target.open(size - head.length)
  const first = start.subarray(head.length)
  body.set(first)
  await readAll(file, body.subarray(first.length), start.length)
  target.onComplete(body)
}

async function readAll(file: FileHandle, into: Uint8Array, position: number): Promise<Uint8Array> {
  for (let filled = 0; filled < into.length; ) {
    const { bytesRead } = await file.read(into, filled, into.length - filled, position + filled)
    if (bytesRead === 0) throw new DomainError('object-malformed', 'The file of an object is too short.')
    filled += bytesRead
  }
  return into
}
