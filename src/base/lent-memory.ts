/** Returns memory of so many bytes, which is not cleared. */
export type LendMemory = (bytes: number) => Uint8Array

export const ownMemory: LendMemory = (bytes) => Buffer.allocUnsafeSlow(bytes)

/** Of memory that was given back, at most so many pieces wait to be lent again, and none that is larger than this. */
const freePiecesMax = 16
const freeBytesMax = 8 * 1024 * 1024

/**
 * Lends memory for large contents that follow each other, so that it is not allocated anew for each of them: new memory costs
 * more than a copy, because the system clears it page by page.
 */
export class LentMemory {
  readonly #lent = new WeakSet<ArrayBufferLike>()
  readonly #free: Uint8Array[] = []

  readonly lend: LendMemory = (bytes) => {
    const index = this.#free.findIndex(({ length }) => length >= bytes)
    const [memory = ownMemory(bytes)] = index < 0 ? [] : this.#free.splice(index, 1)
    this.#lent.add(memory.buffer)
    return memory.subarray(0, bytes)
  }

  /** Takes back what was lent. Ignores other memory. Nothing may read these bytes any more. */
  giveBack({ buffer }: Uint8Array): void {
    const isKept = buffer.byteLength <= freeBytesMax && this.#free.length < freePiecesMax
    if (this.#lent.delete(buffer) && isKept) this.#free.push(new Uint8Array(buffer))
  }
}
