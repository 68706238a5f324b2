import { randomBytes } from 'node:crypto'

/**
 * Shamir's secret sharing (Shamir, "How to Share a Secret", 1979) of 32 bytes: any `threshold` shares give the secret, and
 * fewer say nothing about it. A secret is the value at 0 of a random polynomial over the integers modulo a prime; the share
 * of member k, from 1, is its value at k. Unlike polynomials over bytes this has no limit of 255 members.
 */

/** The smallest prime above 2^256, so that every secret of 32 bytes is a number below it. */
const prime = 2n ** 256n + 297n

/** Length of a secret. */
export const secretBytes = 32
/** Length of a share. */
export const shareBytes = 33

/** Returns the shares of members 1 to `count`. */
export function splitSecret(secret: Uint8Array, count: number, threshold: number): Uint8Array[] {
  // 64 random bytes modulo the prime are uniform to 2^-255.
  const random = Array.from({ length: threshold - 1 }, () => numberOf(randomBytes(64)) % prime)
  return evaluated([...random, numberOf(secret)], count)
}

/** The values at 1 to `count` of a polynomial, the coefficient of its highest power first. */
export function evaluated(coefficients: readonly bigint[], count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => {
    const at = BigInt(index + 1)
    const value = coefficients.reduce((sum, coefficient) => (sum * at + coefficient) % prime, 0n)
    return bytesOf(value, shareBytes)
  })
}

/**
 * Returns a function that gives the secret for the shares of these members, in their order. Throws a RangeError for shares
 * that are not of one secret, if that can be seen.
 */
export function secretJoiner(members: readonly number[]): (shares: readonly Uint8Array[]) => Uint8Array {
  const points = members.map(BigInt)
  // Lagrange's polynomials at 0: the product of x_j / (x_j - x_i).
  const factors = points.map((selected) => {
    const others = points.filter((point) => point !== selected)
    const above = others.reduce((product, point) => (product * point) % prime, 1n)
    const below = others.reduce((product, point) => (product * modulo(point - selected)) % prime, 1n)
    return (above * inverse(below)) % prime
  })
  return (shares) => {
    const value =
      factors.reduce((sum, factor, index) => sum + factor * numberOf(shares[index] as Uint8Array), 0n) % prime
    if (value >= 1n << 256n) throw new RangeError('The shares are not of one secret.')
    return bytesOf(value, secretBytes)
  }
}

/** By the extended algorithm of Euclid. */
function inverse(value: bigint): bigint {
  let [last, rest, lastFactor, factor] = [prime, value, 0n, 1n]
  while (rest !== 0n) {
    const quotient = last / rest
    ;[last, rest] = [rest, last - quotient * rest]
    ;[lastFactor, factor] = [factor, lastFactor - quotient * factor]
  }
  return modulo(lastFactor)
}

function modulo(value: bigint): bigint {
  return ((value % prime) + prime) % prime
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}

function bytesOf(value: bigint, length: number): Uint8Array {
  return Uint8Array.from(Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex'))
}
