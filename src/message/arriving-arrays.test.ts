import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom, shuffle } from '../../test/harness/random.ts'
import { encodeObject, objectId } from '../objects/object-format.ts'
import { ArrivingArrays, ChunkSink } from './arriving-arrays.ts'

const pick = randomFrom(11)

/** Cuts an array into chunks of these lengths. */
function cut(bytes: Uint8Array, lengths: readonly number[]) {
  let start = 0
  return lengths.map((length) => {
    const object = encodeObject('ArrayChunk', [], bytes.subarray(start, start + length))
    start += length
    return { id: objectId(object), object }
  })
}

/** Lets a chunk arrive in pieces, or whole. */
function arrive(arrays: ArrivingArrays, id: string, object: Uint8Array): void {
  if (pick(3) === 0) {
    arrays.put(id, object)
    return
  }
  const sink = new ChunkSink(id, object.length, arrays.targetFor(id))
  for (let at = 0; at < object.length; ) {
    const end = Math.min(object.length, at + 1 + pick(pick(2) === 0 ? 20 : 2000))
    sink.write(object.subarray(at, end))
    at = end
  }
  sink.finish()
}

test('an array is the same in whatever order, pieces and lengths its chunks arrive', () => {
  const cuts: readonly (readonly number[])[] = [
    [0],
    [700],
    [700, 300],
    [700, 700, 700, 1],
    [700, 700, 0],
    [700, 900],
    [700, 20, 700, 900, 700, 3],
  ]
  for (let round = 0; round < 20; round++) {
    for (const lengths of cuts) {
      const length = lengths.reduce((sum, one) => sum + one, 0)
      // Of few different values, so that some chunks are equal.
      const value = pick(2)
      const bytes = Uint8Array.from({ length }, (_, at) => (value === 0 ? 7 : at % 251))
      const chunks = cut(bytes, lengths)
      const others = cut(bytes.toReversed(), lengths)
      const idsOf = (some: typeof chunks): string[] => some.map(({ id }) => id)
      const arrays = new ArrivingArrays(
        new Map([
          ['one', idsOf(chunks)],
          ['other', idsOf(others)],
        ]),
      )
      const objects = new Map([...chunks, ...others].map(({ id, object }) => [id, object]))
      assert.deepEqual(arrays.chunkIds.toSorted(), [...objects.keys()].toSorted())
      for (const id of shuffle(arrays.chunkIds, pick)) {
        assert.ok(!arrays.has(id))
        arrive(arrays, id, objects.get(id) as Uint8Array)
        assert.ok(arrays.has(id))
      }
      assert.deepEqual(Buffer.from(arrays.find('one') ?? []), Buffer.from(bytes))
      assert.deepEqual(Buffer.from(arrays.find('other') ?? []), Buffer.from(bytes.toReversed()))
      assert.equal((arrays.find('one')?.byteOffset ?? 0) % 8, 0)
      assert.equal(arrays.find('another'), undefined)
    }
  }
})

test('a chunk with other bytes, another head or another length does not arrive', () => {
  const bytes = Uint8Array.from({ length: 3000 }, (_, at) => at % 251)
  const [chunk] = cut(bytes, [3000])
  assert.ok(chunk)
  const { id, object } = chunk
  const damaged = Uint8Array.from(object)
  damaged[2000] = 255
  const wrong: readonly (readonly [Uint8Array, number, RegExp])[] = [
    [damaged, object.length, /other bytes/],
    [object, object.length + 1, /another length/],
    [encodeObject('Array', [], bytes), 3000 + 'Array  3000\0'.length, /not the chunk of an array/],
    [Buffer.alloc(3000, 'x'), 3000, /not the chunk of an array/],
  ]
  for (const [sent, length, expected] of wrong) {
    const arrays = new ArrivingArrays(new Map([['one', [id]]]))
    const sink = new ChunkSink(id, length, arrays.targetFor(id))
    assert.throws(() => {
      sink.write(sent)
      sink.finish()
    }, expected)
    assert.ok(!arrays.has(id))
  }
})
