import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SerialIndex } from './serial-index.ts'

const numberBytes = (value: number): Buffer => Buffer.from(value.toString(16).padStart(8, '0'), 'hex')

test('numbers of a CA that counts are found, others are not, and zeros in front do not matter', async () => {
  const count = 50_000
  const bytes = Buffer.concat(Array.from({ length: count }, (_, index) => numberBytes(index * 2 + 1)))
  const places = Uint32Array.from({ length: count * 2 }, (_, index) => (index >> 1) * 4 + (index % 2) * 4)
  const index = await SerialIndex.of(bytes, places)
  assert.equal(index.size, count)
  for (let value = 0; value <= count * 2; value++) assert.equal(index.has(numberBytes(value)), value % 2 === 1)
  assert.equal(index.has(Buffer.from([0, 0, 0, 0, 0, 0, 3])), true)
  assert.equal(index.has(Buffer.from([3])), true)
  assert.deepEqual([...index].slice(0, 2), ['00000001', '00000003'])
})

test('numbers may be there twice, be zero, or be none at all', async () => {
  const index = await SerialIndex.of(Buffer.from([0, 7, 7]), Uint32Array.of(0, 1, 1, 2, 2, 3))
  assert.deepEqual(
    [index.has(Buffer.from([7])), index.has(Buffer.from([0])), index.has(Buffer.from([8]))],
    [true, true, false],
  )
  const none = await SerialIndex.of(new Uint8Array(), new Uint32Array())
  assert.deepEqual([none.size, none.has(Buffer.from([7]))], [0, false])
})

test('other work goes on while a large list is taken in', async () => {
  const count = 400_000
  const bytes = Buffer.concat(Array.from({ length: count }, (_, index) => numberBytes(index)))
  const places = Uint32Array.from({ length: count * 2 }, (_, index) => (index >> 1) * 4 + (index % 2) * 4)
  let turns = 0
  let isDone = false
  const takeTurn = (): void => {
    turns++
    if (!isDone) setImmediate(takeTurn)
  }
  setImmediate(takeTurn)
  await SerialIndex.of(bytes, places)
  isDone = true
  assert.ok(turns > 3, `${turns} turns`)
})
