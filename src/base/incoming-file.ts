import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { ContentSink } from './content-sink.ts'
import { LentMemory } from './lent-memory.ts'

/** What is written in one go, and the memory that a content takes while it arrives. */
const pieceBytes = 256 * 1024
const pieces = new LentMemory()

export interface IncomingFileOptions {
  /** Turns an error of a write into the one that the caller gets, e.g. for a full disk. */
  readonly explain?: (error: unknown, bytes: number) => unknown
  /** Called when the file has been closed, or could not be created. */
  readonly onClosed?: () => void
}

/**
 * A large content that is written to a file while it arrives, and hashed on the way. Its memory is one piece, however large
 * the content is. The file is deleted with the object unless it was moved to its place.
 */
export class IncomingFile implements AsyncDisposable, ContentSink {
  readonly #path: string
  readonly #file: FileHandle
  readonly #options: IncomingFileOptions
  readonly #sum = createHash('sha256')
  /** Absent once nothing more is written. */
  #piece: Uint8Array | undefined = pieces.lend(pieceBytes)
  #filled = 0
  #length = 0
  #writing: Promise<void> = Promise.resolve()
  #digest: string | undefined
  #isMoved = false
  #isClosed = false

  private constructor(path: string, file: FileHandle, options: IncomingFileOptions) {
    this.#path = path
    this.#file = file
    this.#options = options
  }

  static async create(path: string, options: IncomingFileOptions = {}): Promise<IncomingFile> {
    try {
      return new IncomingFile(path, await open(path, 'wx+', 0o600), options)
    } catch (error) {
      options.onClosed?.()
      throw options.explain?.(error, 0) ?? error
    }
  }

  /**
   * Takes a file that another program has written, and reads it once for its hash. Follows no link. Rejects if there is no such
   * file, or one of more than `bytesMax` bytes.
   */
  static async adopt(path: string, bytesMax: number, options: IncomingFileOptions = {}): Promise<IncomingFile> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = await open(path, flags).catch((error: unknown) => {
      options.onClosed?.()
      throw error
    })
    const incoming = new IncomingFile(path, file, options)
    try {
      await incoming.#readAll(bytesMax)
      return incoming
    } catch (error) {
      await incoming[Symbol.asyncDispose]()
      throw error
    }
  }

  /** How many bytes have arrived. */
  get length(): number {
    return this.#length
  }

  /** The SHA-256 of all bytes in lowercase hexadecimal, once the content is complete. */
  get sha256(): string {
    if (this.#digest === undefined) throw new Error('The content is not complete.')
    return this.#digest
  }

  /** Takes a copy of the bytes. The next ones may come when the returned promise has resolved. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    const piece = this.#piece
    if (!piece) return Promise.reject(new Error('The file takes no more.'))
    const taken = Math.min(bytes.length, piece.length - this.#filled)
    piece.set(bytes.subarray(0, taken), this.#filled)
    this.#filled += taken
    this.#length += taken
    if (this.#filled < piece.length) return undefined
    return this.#flush(piece).then(() => this.write(bytes.subarray(taken)))
  }

  /** The content is complete: writes what is left. */
  async finish(): Promise<void> {
    if (this.#piece) await this.#flush(this.#piece)
    this.#giveBack()
    this.#digest ??= this.#sum.digest('hex')
  }

  /** For a sync to the disk. */
  get handle(): FileHandle {
    return this.#file
  }

  /** Returns the first bytes of what was written. */
  async first(length: number): Promise<Uint8Array> {
    const { buffer, bytesRead } = await this.#file.read(Buffer.allocUnsafeSlow(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  }

  async moveTo(path: string): Promise<void> {
    await rename(this.#path, path)
    this.#isMoved = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#writing.catch(() => {})
    this.#giveBack()
    await this.#file.close().catch(() => {})
    this.#options.onClosed?.()
    if (!this.#isMoved) await rm(this.#path, { force: true }).catch(() => {})
  }

  async #readAll(bytesMax: number): Promise<void> {
    const piece = this.#piece as Uint8Array
    if (!(await this.#file.stat()).isFile()) throw new Error(`${this.#path} is no file.`)
    for (;;) {
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, this.#length)
      if (bytesRead === 0) break
      this.#sum.update(piece.subarray(0, bytesRead))
      this.#length += bytesRead
      if (this.#length > bytesMax) throw new Error(`${this.#path} has more than ${bytesMax} bytes.`)
    }
    this.#giveBack()
    this.#digest = this.#sum.digest('hex')
  }

  #giveBack(): void {
    if (this.#piece) pieces.giveBack(this.#piece)
    this.#piece = undefined
  }

  #flush(memory: Uint8Array): Promise<void> {
    const piece = memory.subarray(0, this.#filled)
    this.#filled = 0
    this.#sum.update(piece)
    this.#writing = this.#write(piece)
    return this.#writing
  }

  async #write(piece: Uint8Array): Promise<void> {
    try {
      for (let written = 0; written < piece.length; ) {
        const { bytesWritten } = await this.#file.write(piece, written)
        written += bytesWritten
      }
    } catch (error) {
      throw this.#options.explain?.(error, this.#length) ?? error
    }
  }
}
