import { randomBytes } from 'node:crypto'

/** Shamir's secret sharing as Flower has it from PyCryptodome: 16 bytes at a time, over the field of 2^128 elements. */

const chunkBytes = 16
/** 1 + x + x² + x⁷ + x¹²⁸ */
const polynomial = (1n << 128n) | 135n

/** Returns `count` shares: the number of the share in 4 bytes, and its value for each piece of the padded secret. */
export function splitForFlower(secret: Uint8Array, threshold: number, count: number): Uint8Array[] {
  const missing = chunkBytes - (secret.length % chunkBytes)
  const padded = Buffer.concat([secret, Buffer.alloc(missing, missing)])
  const shares = Array.from({ length: count }, (_, index) => [littleEndian(index + 1)])
  for (let at = 0; at < padded.length; at += chunkBytes) {
    const random = Array.from({ length: threshold - 1 }, () => elementOf(randomBytes(chunkBytes)))
    const coefficients = [...random, elementOf(padded.subarray(at, at + chunkBytes))]
    shares.forEach((share, index) => {
      const point = BigInt(index + 1)
      share.push(bytesOf(coefficients.reduce((sum, coefficient) => product(sum, point) ^ coefficient, 0n)))
    })
  }
  return shares.map((parts) => Uint8Array.from(Buffer.concat(parts)))
}

/** Returns the secret. Throws a RangeError for shares that are not of one secret. */
export function joinForFlower(shares: readonly Uint8Array[]): Uint8Array {
  if (shares.length === 0) throw new RangeError('The shares are not of one secret.')
  const buffers = shares.map((share) => Buffer.from(share))
  const points = buffers.map((share) => BigInt(share.readUInt32LE(0)))
  const factors = points.map((selected) =>
    points
      .filter((point) => point !== selected)
      .reduce((total, point) => product(total, product(point, inverse(point ^ selected))), 1n),
  )
  const length = Math.min(...buffers.map((share) => share.length))
  const padded: Buffer[] = []
  for (let at = 4; at + chunkBytes <= length; at += chunkBytes) {
    const values = buffers.map((share) => elementOf(share.subarray(at, at + chunkBytes)))
    padded.push(bytesOf(values.reduce((sum, value, index) => sum ^ product(value, factors[index] as bigint), 0n)))
  }
  const joined = Buffer.concat(padded)
  const missing = joined.at(-1) ?? 0
  if (missing < 1 || missing > chunkBytes || !joined.subarray(-missing).every((byte) => byte === missing))
    throw new RangeError('The shares are not of one secret.')
  return Uint8Array.from(joined.subarray(0, -missing))
}

function product(a: bigint, b: bigint): bigint {
  let sum = 0n
  for (let [left, right] = [a, b]; right > 0n; right >>= 1n) {
    if (right & 1n) sum ^= left
    left <<= 1n
    if (left >> 128n) left ^= polynomial
  }
  return sum
}

/** By Fermat: the power 2^128 - 2. */
function inverse(value: bigint): bigint {
  let result = 1n
  let square = value
  for (let bit = 1; bit < 128; bit++) {
    square = product(square, square)
    result = product(result, square)
  }
  return result
}

function elementOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * chunkBytes, '0'), 'hex')
}

function littleEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
