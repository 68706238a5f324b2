import { loadAhead } from '../../base/ahead.ts'
import type { LentMemory } from '../../base/lent-memory.ts'
import type { ArrayPiece } from '../held-reply.ts'
import type { ArrivedPiece, ArrivingArray } from './arriving-array.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/** The pieces of the arrays of one reply, which are loaded a few ahead, array by array. */
export class PiecesOfReply {
  readonly #pieces: ReadonlyMap<string, readonly ArrayPiece[]>
  readonly #factor: number
  readonly #stop = new AbortController()
  #loaded: AsyncGenerator<ArrivedPiece, void, undefined> | undefined
  #memory: LentMemory | undefined
  #last: Uint8Array | undefined

  constructor(pieces: readonly ArrayPiece[], factor: number) {
    this.#pieces = Map.groupBy(pieces, ({ name }) => name)
    this.#factor = factor
  }

  get names(): readonly string[] {
    return [...this.#pieces.keys()]
  }

  /** Begins to load the arrays of these names, in this order: up to `ahead` pieces before they are asked for. */
  begin(names: readonly string[], { memory, ahead }: { memory: LentMemory; ahead: number }): void {
    this.#memory = memory
    const pieces = names.flatMap((name) => this.#pieces.get(name) ?? [])
    const { signal } = this.#stop
    const load = async (piece: ArrayPiece): Promise<ArrivedPiece> => ({
      bytes: await piece.load(signal, memory.lend),
      isLast: piece.isLast,
    })
    this.#loaded = loadAhead(pieces, load, ahead)
  }

  /** The array of that name. The arrays are taken in the order of their names. */
  array(name: string): ArrivingArray {
    const [first] = this.#pieces.get(name) ?? []
    if (!first) throw new InconsistentRepliesError(`The replies have no array '${name}', which the model has.`)
    const { stype } = first
    return { stype, factor: this.#factor, next: () => this.#next() }
  }

  /** Stops what is being loaded. The bytes of the last piece must not be read any more. */
  end(): void {
    this.#stop.abort()
    this.#giveBack()
    this.#loaded?.return().catch(() => {})
  }

  async #next(): Promise<ArrivedPiece> {
    this.#giveBack()
    const { value } = (await this.#loaded?.next()) ?? {}
    if (!value) throw new TypeError('A reply has fewer arrays than its outline names.')
    this.#last = value.bytes
    return value
  }

  #giveBack(): void {
    if (this.#last) this.#memory?.giveBack(this.#last)
    this.#last = undefined
  }
}
