import { type FileHandle, open } from 'node:fs/promises'

/**
 * A large content that is sent from its file, piece by piece. The file is opened before the first byte is sent, and can be
 * deleted from then on. Once closed, it is not opened again: what is still to be sent of it is not sent.
 */
export class FileContent {
  readonly #path: string
  readonly #openFile: () => Promise<FileHandle>
  readonly length: number
  /** Where the file is, unless it may have to be fetched first. */
  readonly localPath: string | undefined
  #file: Promise<FileHandle> | undefined
  #closed = false

  /** `openFile`: for a file that may have to be fetched first. */
  constructor(path: string, length: number, openFile?: () => Promise<FileHandle>) {
    this.#path = path
    this.length = length
    this.localPath = openFile ? undefined : path
    this.#openFile = openFile ?? (() => open(path, 'r'))
  }

  async open(): Promise<void> {
    await this.#opened()
  }

  /** `into` is memory that nothing reads any more. It is used if it is large enough. */
  async read(position: number, length: number, into: Uint8Array = new Uint8Array()): Promise<Uint8Array> {
    const bytes = Math.min(length, this.length - position)
    const piece = into.length >= bytes ? into.subarray(0, bytes) : Buffer.allocUnsafeSlow(bytes)
    for (let filled = 0; filled < piece.length; ) {
      const file = await this.#opened()
      const { bytesRead } = await file.read(piece, filled, piece.length - filled, position + filled)
      if (bytesRead === 0) throw new Error(`The file ${this.#path} is shorter than its ${this.length} bytes.`)
      filled += bytesRead
    }
    return piece
  }

  /** Does nothing if the file could not be opened. */
  async close(): Promise<void> {
    this.#closed = true
    const file = await this.#file?.catch(() => undefined)
    this.#file = undefined
    await file?.close()
  }

  async #opened(): Promise<FileHandle> {
    if (this.#closed) throw new Error(`The file ${this.#path} is closed.`)
    this.#file ??= this.#openFile()
    return this.#file
  }
}
