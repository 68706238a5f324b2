import { createCipheriv } from 'node:crypto'
import { takeTurns } from '../../base/turns.ts'

const chunkBytes = 1 << 18
const zeros = Buffer.alloc(chunkBytes)
const zeroNonce = Buffer.alloc(16)

/**
 * What the nodes add up: values modulo 2^32 for the model, and values modulo 2^64 for the metrics. A mask is a keystream of
 * AES-256-CTR with the full key, as little-endian numbers: first those of the metrics, then those of the model.
 */
export class MaskedVector {
  readonly values: Uint32Array
  readonly metrics: BigUint64Array

  constructor(values: number, metrics: number) {
    this.values = new Uint32Array(values)
    this.metrics = new BigUint64Array(metrics)
  }

  add(values: Uint32Array, metrics: BigUint64Array): void {
    for (let index = 0; index < values.length; index++)
      this.values[index] = (this.values[index] as number) + (values[index] as number)
    for (let index = 0; index < metrics.length; index++)
      this.metrics[index] = (this.metrics[index] as bigint) + (metrics[index] as bigint)
  }

  /** Adds the mask of a key, or takes it away. Other work runs meanwhile. */
  async applyMask(key: Uint8Array, sign: 1 | -1): Promise<void> {
    const turn = takeTurns()
    const cipher = createCipheriv('aes-256-ctr', key, zeroNonce)
    const forMetrics = cipher.update(new Uint8Array(this.metrics.byteLength))
    for (let index = 0; index < this.metrics.length; index++)
      this.metrics[index] = (this.metrics[index] as bigint) + BigInt(sign) * forMetrics.readBigUInt64LE(index * 8)
    // As signed numbers, which have the same bits: processors add them faster.
    const values = new Int32Array(this.values.buffer)
    for (let start = 0; start < values.length; start += chunkBytes / 4) {
      const part = values.subarray(start, start + chunkBytes / 4)
      const stream = wordsOf(cipher.update(zeros.subarray(0, part.byteLength)))
      for (let index = 0; index < part.length; index++)
        part[index] = ((part[index] as number) + Math.imul(sign, stream[index] as number)) | 0
      await turn()
    }
  }
}

function wordsOf(bytes: Uint8Array): Int32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes)
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4)
}
