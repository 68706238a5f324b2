/** How much memory an announced length may take before any of its bytes has arrived. */
const firstBytes = 1024 * 1024

/** How many bytes are judged first. From then on they are judged again whenever there are four times as many. */
const judgedFirstBytes = 64 * 1024

/** Throws if the first bytes of a message of this length show that the message will be refused. */
export type JudgeArrived = (bytes: Uint8Array, length: number) => void

/**
 * Joins chunks while they arrive. The memory grows with the bytes, so a peer that announces a length and sends nothing costs
 * nothing, and no step copies everything at the end.
 */
export class ArrivingBytes {
  #announced: number
  #judge: JudgeArrived | undefined
  #judgedFrom = judgedFirstBytes
  /** A body of one chunk is that chunk. */
  #only: Buffer | undefined
  #buffer: Buffer | undefined
  #length = 0

  /** @param announced how many bytes will come at most. */
  constructor(announced: number) {
    this.#announced = announced
  }

  get length(): number {
    return this.#length
  }

  /** Says how many bytes will come, once that is known. `add` throws what `judge` throws, before all of them are here. */
  announce(bytes: number, judge?: JudgeArrived): void {
    this.#announced = bytes
    this.#judge = judge
  }

  add(chunk: Buffer): undefined {
    const length = this.#length + chunk.length
    if (this.#length === 0) this.#only = chunk
    else {
      if (!this.#buffer || length > this.#buffer.length) this.#grow(length)
      chunk.copy(this.#buffer as Buffer, this.#length)
    }
    this.#length = length
    if (length >= this.#judgedFrom && length < this.#announced) {
      this.#judgedFrom = 4 * length
      this.#judge?.(this.bytes(), this.#announced)
    }
    return undefined
  }

  /** What has arrived so far: a view, which later chunks may leave behind. */
  bytes(): Buffer {
    return this.#only ?? this.#buffer?.subarray(0, this.#length) ?? Buffer.alloc(0)
  }

  #grow(needed: number): void {
    const wanted = this.#buffer ? this.#buffer.length * 4 : Math.max(firstBytes, 2 * needed)
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.#announced, wanted)))
    this.bytes().copy(larger)
    this.#buffer = larger
    this.#only = undefined
  }
}
