import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Images, imageAt, readShare, readTestSet } from './images.ts'

const fingerprints = (images: Images): string[] =>
  Array.from(images.digits, (digit, index) => `${digit}:${imageAt(images, index).join()}`)

test('three shares and the test set of the server are all 1,797 images, and have none in common', () => {
  const shares = [0, 1, 2].map((partition) => readShare(partition, 3))
  const parts = [readTestSet(), ...shares.flatMap(({ train, heldBack }) => [train, heldBack])]
  assert.deepEqual(
    parts.map(({ count }) => count),
    [300, 399, 100, 399, 100, 399, 100],
  )
  // No image is there twice, so that equal ones would be the same one.
  assert.equal(new Set(parts.flatMap(fingerprints)).size, 1797)
})

test('every share has every digit, and pixels from 0 to 1', () => {
  for (const partition of [0, 1, 2]) {
    const { train } = readShare(partition, 3)
    assert.equal(new Set(train.digits).size, 10)
    assert.ok(train.pixels.every((pixel) => pixel >= 0 && pixel <= 1))
    assert.ok(train.pixels.includes(1))
  }
})

test('a share that does not exist is refused with what to give', () => {
  for (const [partition, partitions] of [
    [3, 3],
    [-1, 3],
    [0.5, 3],
    [Number.NaN, 3],
    [0, 0],
  ] as const)
    assert.throws(() => readShare(partition, partitions), {
      name: 'RangeError',
      message: `There is no share ${partition} of ${partitions}: give the SuperNode --node-config "partition-id=0 num-partitions=3".`,
    })
})
