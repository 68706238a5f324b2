import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Images of 8x8 pixels, scaled to 0..1, row after row, with their digits. */
export interface Images {
  readonly count: number
  /** `count` x 64 */
  readonly pixels: Float32Array
  readonly digits: Uint8Array
}

export interface Share {
  readonly train: Images
  readonly heldBack: Images
}

export const pixelsPerImage = 64
/** One image in six belongs to the server's test set; the others are shared out. */
const testEvery = 6
/** One image in five of a share is held back to evaluate with. */
const heldBackEvery = 5

/**
 * The share of one node: every n-th of the images that the server does not keep, so that shares are disjoint and alike.
 * Throws a RangeError for a share that does not exist.
 */
export function readShare(partition: number, partitions: number): Share {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < partitions))
    throw new RangeError(
      `There is no share ${partition} of ${partitions}: give the SuperNode --node-config "partition-id=0 num-partitions=3".`,
    )
  const own = readLines()
    .filter((_, index) => index % testEvery !== 0)
    .filter((_, index) => index % partitions === partition)
  return {
    train: toImages(own.filter((_, index) => index % heldBackEvery !== 0)),
    heldBack: toImages(own.filter((_, index) => index % heldBackEvery === 0)),
  }
}

/** The server's own test set. No share has an image of it. */
export function readTestSet(): Images {
  return toImages(readLines().filter((_, index) => index % testEvery === 0))
}

export function imageAt(images: Images, index: number): Float32Array {
  return images.pixels.subarray(index * pixelsPerImage, (index + 1) * pixelsPerImage)
}

function readLines(): string[] {
  const file = join(import.meta.dirname, 'digits.csv.gz')
  return gunzipSync(readFileSync(file)).toString().trim().split('\n')
}

function toImages(lines: readonly string[]): Images {
  const pixels = new Float32Array(lines.length * pixelsPerImage)
  const digits = new Uint8Array(lines.length)
  for (const [index, line] of lines.entries()) {
    const values = line.split(',').map(Number)
    pixels.set(
      values.slice(0, pixelsPerImage).map((value) => value / 16),
      index * pixelsPerImage,
    )
    digits[index] = values[pixelsPerImage]!
  }
  return { count: lines.length, pixels, digits }
}
