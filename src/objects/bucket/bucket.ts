import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AtOnce } from '../../base/at-once.ts'
import { sha256InTurns } from '../../base/hash-in-turns.ts'
import { limits } from '../../base/limits.ts'
import { BucketError } from './bucket-errors.ts'
import type { Action, BucketRequest, BucketRequests } from './bucket-requests.ts'
import { elementsIn, textIn } from './bucket-xml.ts'

const markerName = 'trellis.json'
/** Of an object that never is. */
const probeName = 'trellis-probe'
const once = { expected: [404], attemptsMax: 1 } as const

/**
 * Objects in a bucket, by id. A put can be repeated, because the id of an object is the hash of its bytes; what was read is
 * compared with the id. Nothing here relies on conditional writes, which not every server has.
 */
export class Bucket implements Disposable {
  readonly #requests: BucketRequests
  readonly #uploads = new AtOnce(limits.bucketUploadsAtOnce)
  #owner: string | undefined

  constructor(requests: BucketRequests) {
    this.#requests = requests
  }

  get label(): string {
    return this.#requests.target.label
  }

  [Symbol.dispose](): void {
    this.#requests[Symbol.dispose]()
  }

  /** Uploads a file and returns when the server has acknowledged all of it. */
  put(objectId: string, path: string, length: number): Promise<void> {
    return this.#uploads.run(() =>
      length > limits.bucketPartBytes * 2
        ? this.#putParts(objectId, path, length)
        : this.#putWhole(objectId, path, length),
    )
  }

  /** The server compares the bytes with the id, if it checks signed hashes. */
  async #putWhole(objectId: string, path: string, length: number): Promise<void> {
    await this.#requests.send({
      ...{ method: 'PUT', action: 'put', key: this.#keyOf(objectId) },
      body: { open: () => createReadStream(path), length, sha256: objectId },
    })
  }

  /** A cut then costs one part. */
  async #putParts(objectId: string, path: string, length: number): Promise<void> {
    const key = this.#keyOf(objectId)
    const begun = await this.#requests.send({ method: 'POST', action: 'put', key, query: { uploads: '' } })
    const uploadId = textIn(begun.text, 'UploadId')
    if (!uploadId) throw new BucketError(`${this.label} has begun no multipart upload.`, { isFinal: false })
    try {
      const parts: string[] = []
      await using file = await open(path, 'r')
      const piece = Buffer.allocUnsafeSlow(limits.bucketPartBytes)
      for (let start = 0; start < length; start += piece.length) {
        const bytes = piece.subarray(0, Math.min(piece.length, length - start))
        await readAll(file, bytes, start)
        const { headers } = await this.#requests.send({
          ...{ method: 'PUT', action: 'put', key, query: { partNumber: String(parts.length + 1), uploadId } },
          body: { open: () => bytes, length: bytes.length, sha256: await sha256InTurns(bytes) },
        })
        parts.push(`<Part><PartNumber>${parts.length + 1}</PartNumber><ETag>${headers.etag ?? ''}</ETag></Part>`)
      }
      const list = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`)
      const body = { open: () => list, length: list.length, sha256: await sha256InTurns(list) }
      const done = await this.#requests.send({
        ...{ method: 'POST', action: 'put', key, query: { uploadId }, body },
        // The upload is gone if the response to an earlier attempt was lost.
        expected: [404],
      })
      if (done.status === 404 && !(await this.#isHere(objectId, length)))
        throw new BucketError(`${this.label} has lost a multipart upload.`, { isFinal: false })
    } catch (error) {
      await this.#abort(key, uploadId).catch(() => {})
      throw error
    }
  }

  async #isHere(objectId: string, length: number): Promise<boolean> {
    for await (const { id, size } of this.list(objectId)) if (id === objectId && size === length) return true
    return false
  }

  /**
   * Downloads an object into a file, and returns whether it was there. Throws if the bytes are not those of the object: then
   * the file is to be deleted.
   */
  async download(objectId: string, path: string): Promise<boolean> {
    return this.#get(objectId, () => createWriteStream(path, { mode: 0o600 }))
  }

  /** Reads an object without keeping it, and returns whether it is there. Throws if its bytes are others. */
  verify(objectId: string): Promise<boolean> {
    return this.#get(objectId, () => new Writable({ write: (_chunk, _encoding, done) => done() }))
  }

  async #get(objectId: string, openSink: () => Writable): Promise<boolean> {
    const { status } = await this.#requests.send({
      ...{ method: 'GET', action: 'get', key: this.#keyOf(objectId), expected: [404] },
      receive: async (body) => {
        const sum = createHash('sha256')
        await pipeline(
          body,
          async function* (chunks: AsyncIterable<Buffer>) {
            for await (const chunk of chunks) {
              sum.update(chunk)
              yield chunk
            }
          },
          openSink(),
        )
        if (sum.digest('hex') !== objectId) throw new WrongBytesError(this.label, objectId)
      },
    })
    return status !== 404
  }

  /** Does nothing if the object is not there. */
  async remove(objectId: string): Promise<void> {
    await this.#requests.send({
      // What stays is removed by the next sweep.
      ...{ method: 'DELETE', action: 'delete', key: this.#keyOf(objectId), ...once },
    })
  }

  /** Lists all objects, a page at a time. Other things under the prefix are skipped. */
  async *list(onlyId = ''): AsyncGenerator<{ readonly id: string; readonly size: number }> {
    const { prefix } = this.#requests.target
    for (let token: string | undefined; ; ) {
      const { text } = await this.#requests.send({
        ...{ method: 'GET', action: 'list' },
        query: {
          ...{ 'list-type': '2', prefix: onlyId === '' ? prefix : this.#keyOf(onlyId) },
          ...(token === undefined ? {} : { 'continuation-token': token }),
        },
      })
      for (const entry of elementsIn(text, 'Contents')) {
        const [, shard, id = ''] =
          /^([0-9a-f]{2})\/([0-9a-f]{64})$/.exec(textIn(entry, 'Key')?.slice(prefix.length) ?? '') ?? []
        if (shard === id.slice(0, 2) && shard) yield { id, size: Number(textIn(entry, 'Size')) }
      }
      token = textIn(text, 'NextContinuationToken')
      if (textIn(text, 'IsTruncated') !== 'true' || !token) return
    }
  }

  /** Removes the parts of uploads that were begun before that instant and are not complete: they cost storage and show nowhere. */
  async abortUploadsOf(before: number): Promise<void> {
    const { prefix } = this.#requests.target
    const { text } = await this.#requests.send({
      ...{ method: 'GET', action: 'list', query: { uploads: '', prefix } },
      // Some servers have no such list.
      expected: [400, 404, 405, 501],
    })
    for (const upload of elementsIn(text, 'Upload')) {
      const [key, uploadId, begun] = ['Key', 'UploadId', 'Initiated'].map((name) => textIn(upload, name))
      if (key?.startsWith(prefix) && uploadId && Date.parse(begun ?? '') < before) await this.#abort(key, uploadId)
    }
  }

  /**
   * Marks the place as that of one SuperLink, which is named by `owner`, and returns whether it is. Also shows that the bucket
   * is there, and that the credentials may read and write.
   */
  async claim(owner: string): Promise<boolean> {
    this.#owner = owner
    const found = await this.#readMarker()
    if (found !== undefined) return found === owner
    // Of two SuperLinks that begin at once one gets 412, if the server knows conditions. Else the last one wins.
    await this.#writeMarker(owner, { headers: { 'if-none-match': '*' }, expected: [409, 412] })
    return (await this.#readMarker()) === owner
  }

  /** Whether the place is marked as that of any SuperLink. */
  async isMarked(): Promise<boolean> {
    return (await this.#readMarker()) !== undefined
  }

  /** Finds out whether the bucket does this, by a request that changes nothing. Throws a BucketError otherwise. */
  async probe(action: Action): Promise<void> {
    if (action === 'delete') {
      await this.#requests.send({ ...{ method: 'DELETE', action, key: this.#keyAt(probeName) }, ...once })
      return
    }
    const found = await this.#readMarker()
    if (action !== 'put') return
    if (this.#owner === undefined || (found !== undefined && found !== this.#owner))
      throw new BucketError(`${this.label} is that of another SuperLink by now.`, { isFinal: true })
    await this.#writeMarker(this.#owner)
  }

  async #writeMarker(owner: string, more: Pick<BucketRequest, 'headers' | 'expected'> = {}): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify({ owner })}\n`)
    await this.#requests.send({
      ...{ method: 'PUT', action: 'put', key: this.#keyAt(markerName), attemptsMax: 1, ...more },
      body: { open: () => bytes, length: bytes.length, sha256: await sha256InTurns(bytes) },
    })
  }

  async #readMarker(): Promise<string | undefined> {
    const { status, text } = await this.#requests.send({
      ...{ method: 'GET', action: 'get', key: this.#keyAt(markerName), ...once },
    })
    if (status === 404) return undefined
    const [, owner = ''] = /"owner"\s*:\s*"([^"]*)"/.exec(text) ?? []
    return owner
  }

  async #abort(key: string, uploadId: string): Promise<void> {
    await this.#requests.send({
      ...{ method: 'DELETE', action: 'delete', key, query: { uploadId }, ...once },
    })
  }

  #keyOf(objectId: string): string {
    return this.#keyAt(`${objectId.slice(0, 2)}/${objectId}`)
  }

  #keyAt(name: string): string {
    return `${this.#requests.target.prefix}${name}`
  }
}

/** One read may return less than was asked for. */
async function readAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, position + filled)
    if (bytesRead === 0) throw new Error(`The file of an object ends ${bytes.length - filled} bytes too early.`)
    filled += bytesRead
  }
}

/** Bytes may be damaged on their way, so the download is tried again; those that stay wrong are never handed out. */
class WrongBytesError extends BucketError {
  constructor(label: string, objectId: string) {
    super(
      `${label} returned other bytes than those of the object ${objectId}. If this happens again, the object is damaged: restore it from a backup, or stop its run.`,
      { isFinal: false, isOutage: false },
    )
  }
}
