import assert from 'node:assert/strict'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { encodeObject, objectId } from '../objects/object-format.ts'
import { ArrivingArrays } from './arriving-arrays.ts'
import { readChunkFile } from './chunk-file.ts'

test('chunks are read from their files to their places in the array', async () => {
  using folder = temporaryDirectory()
  const bytes = Uint8Array.from({ length: 7000 }, (_, at) => at % 251)
  const chunks = [0, 3000, 6000].map((start) => encodeObject('ArrayChunk', [], bytes.subarray(start, start + 3000)))
  const ids = chunks.map(objectId)
  const arrays = new ArrivingArrays(new Map([['one', ids]]))
  for (const [index, id] of ids.entries()) {
    const path = join(folder.path, id)
    await writeFile(path, chunks[index] as Uint8Array)
    await using file = await open(path)
    await readChunkFile(id, file, arrays.targetFor(id))
    assert.ok(arrays.has(id))
  }
  assert.deepEqual(Buffer.from(arrays.find('one') ?? []), Buffer.from(bytes))
})

test('a file that is no whole chunk is refused', async () => {
  using folder = temporaryDirectory()
  const chunk = encodeObject('ArrayChunk', [], new Uint8Array(3000))
  const id = objectId(chunk)
  const wrong: readonly (readonly [Uint8Array, RegExp])[] = [
    [chunk.subarray(0, 2000), /another length/],
    [encodeObject('Array', [], new Uint8Array(3000)), /not the chunk of an array/],
    [new Uint8Array(), /not the chunk of an array/],
  ]
  for (const [content, expected] of wrong) {
    const arrays = new ArrivingArrays(new Map([['one', [id]]]))
    const path = join(folder.path, id)
    await writeFile(path, content)
    await using file = await open(path)
    await assert.rejects(readChunkFile(id, file, arrays.targetFor(id)), expected)
    assert.ok(!arrays.has(id))
  }
})
