import { randomFillSync } from 'node:crypto'

/** Draws a number from the normal distribution with mean 0 and standard deviation 1. */
export type Gaussian = () => number

const batch = 1024

/**
 * Normal numbers from the system's cryptographic generator: noise that protects privacy must not be predictable from
 * noise that was seen. Made by the method of Box and Muller.
 */
export function secureGaussian(): Gaussian {
  return gaussianFrom(secureUniform())
}

/** Numbers that are uniform from 0 up to, without, 1, from the system's cryptographic generator. */
export function secureUniform(): () => number {
  const bits = new BigUint64Array(batch)
  let used = batch
  return () => {
    if (used === batch) {
      randomFillSync(bits)
      used = 0
    }
    return Number((bits[used++] as bigint) >> 11n) / 2 ** 53
  }
}

/** Normal numbers from numbers that are uniform from 0 up to, without, 1. */
export function gaussianFrom(uniform: () => number): Gaussian {
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const value = spare
      spare = undefined
      return value
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()))
    const angle = 2 * Math.PI * uniform()
    spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }
}
