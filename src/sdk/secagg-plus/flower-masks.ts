/**
 * Masks of Flower's SecAgg+: numpy's `RandomState(seed).randint(0, modulus - 1)`, with a seed of 32 bits that is the XOR of the
 * words of a longer secret. A server can try out all seeds: these masks are for interoperability, not for protection.
 */

const stateWords = 624
const shiftWords = 397

/** The numbers of a Mersenne Twister (Matsumoto and Nishimura, "Mersenne Twister", 1998), as numpy seeds it. */
class MersenneTwister {
  readonly #state = new Uint32Array(stateWords)
  #used = stateWords

  constructor(seed: number) {
    this.#state[0] = seed
    for (let index = 1; index < stateWords; index++) {
      const last = this.#state[index - 1] as number
      this.#state[index] = Math.imul(1812433253, last ^ (last >>> 30)) + index
    }
  }

  next(): number {
    if (this.#used === stateWords) this.#advance()
    let word = this.#state[this.#used++] as number
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    return (word ^ (word >>> 18)) >>> 0
  }

  #advance(): void {
    const state = this.#state
    for (let index = 0; index < stateWords; index++) {
      const joined =
        ((state[index] as number) & 0x80000000) | ((state[(index + 1) % stateWords] as number) & 0x7fffffff)
      const twisted = (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0)
      state[index] = (state[(index + shiftWords) % stateWords] as number) ^ twisted
    }
    this.#used = 0
  }
}

/** Returns the mask of a secret for arrays of these lengths, one after the other. `modulus` is a power of 2, up to 2^32. */
export function flowerMask(secret: Uint8Array, modulus: number, lengths: readonly number[]): Float64Array[] {
  const words = Buffer.from(secret)
  let seed = 0
  for (let at = 0; at < words.length; at += 4) seed ^= words.readInt32LE(at)
  const generator = new MersenneTwister(seed >>> 0)
  return lengths.map((length) => {
    const numbers = new Float64Array(length)
    for (let index = 0; index < length; index++) {
      // numpy draws again for the largest number, which is not in the range.
      do numbers[index] = modulus === 2 ** 32 ? generator.next() : generator.next() % modulus
      while (numbers[index] === modulus - 1)
    }
    return numbers
  })
}
