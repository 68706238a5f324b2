import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { test } from 'node:test'
import { FileContent } from '../base/file-content.ts'
import { createTemporaryDirectory } from '../base/temporary-directory.ts'
import { pieceBytesMax } from './outgoing.ts'
import { sendParts } from './send-parts.ts'

test('a content whose push is refused after the first piece is read no further, and is not opened again', async () => {
  await using directory = await createTemporaryDirectory('trellis-refused')
  const path = join(directory.path, 'object')
  writeFileSync(path, Buffer.alloc(3 * pieceBytesMax))
  const reads: number[] = []
  class Watched extends FileContent {
    override read(position: number, length: number): Promise<Uint8Array> {
      reads.push(position)
      return super.read(position, length)
    }
  }
  const content = new Watched(path, 3 * pieceBytesMax)
  const stream: Writable = new Writable({
    highWaterMark: 1,
    write: () => void content.close().then(() => stream.destroy()),
  })
  await sendParts(stream, [Buffer.from('head'), content])
  assert.deepEqual(reads, [])
  await assert.rejects(content.read(0, 1), /is closed/)
})

test('pieces of a file follow each other through the same memory, each when the one before it has been sent', async () => {
  await using directory = await createTemporaryDirectory('trellis-pieces')
  const path = join(directory.path, 'object')
  const bytes = Buffer.from(Uint8Array.from({ length: 3 * pieceBytesMax + 7 }, (_, at) => at % 251))
  writeFileSync(path, bytes)
  const content = new FileContent(path, bytes.length)
  const sent: Buffer[] = []
  const memories = new Set<ArrayBufferLike>()
  const stream = new Writable({
    write: (piece: Buffer, _encoding, done) => {
      memories.add(piece.buffer)
      setImmediate(() => {
        sent.push(Buffer.from(piece))
        done()
      })
    },
  })
  await sendParts(stream, [content])
  await content.close()
  await finished(stream)
  assert.ok(Buffer.concat(sent).equals(bytes))
  assert.equal(memories.size, 1)
})
