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

export const pixelsPerImage = 64

/**
 * The share of one node: every n-th image, so that shares are disjoint and alike. One in five is held back for evaluation.
 * Throws a RangeError for a share that does not exist.
 */
export function readPartition(partition: number, partitions: number): { train: Images; test: Images } {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < partitions))
    throw new RangeError(
      `There is no share ${partition} of ${partitions}: give --node-config "partition-id=0 num-partitions=3".`,
    )
  const own = readLines().filter((_, index) => index % partitions === partition)
  return {
    train: toImages(own.filter((_, index) => index % 5 !== 0)),
    test: toImages(own.filter((_, index) => index % 5 === 0)),
  }
}

function readLines(): string[] {
  const file = join(import.meta.dirname, 'digits.csv.gz')
  return gunzipSync(readFileSync(file)).toString().trim().split('\n')
}

function toImages(lines: readonly string[]): Images {
  const pixels = new Float32Array(lines.length * pixelsPerImage)
  const digits = new Uint8Array(lines.length)
  for (const [image, line] of lines.entries()) {
    const values = line.split(',').map(Number)
    for (let pixel = 0; pixel < pixelsPerImage; pixel++)
      pixels[image * pixelsPerImage + pixel] = (values[pixel] as number) / 16
    digits[image] = values[pixelsPerImage] as number
  }
  return { count: lines.length, pixels, digits }
}
