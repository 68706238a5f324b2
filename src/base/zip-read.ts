import { isUtf8 as isUtf8Text } from 'node:buffer'
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { type Entry, fromBuffer, type ZipFile } from 'yauzl'
import { errorText } from './errors.ts'
import { takeTurns } from './turns.ts'

/** What an archive may hold. */
export interface ZipBounds {
  /** Of the archive, and of all members together when unpacked. */
  readonly bytesMax: number
  readonly membersMax: number
  /** Says what is wrong with a path, if anything. */
  readonly pathFault?: (path: string) => string | undefined
}

/** An archive that cannot be read, or holds more than it may. */
export class ZipFault extends Error {}

/**
 * Reads an untrusted ZIP: checks the path, kind, size and CRC of every member. Writes nothing. Throws a ZipFault with what is
 * wrong.
 */
export async function readZip(bytes: Uint8Array, bounds: ZipBounds): Promise<Map<string, Uint8Array>> {
  const { bytesMax, membersMax, pathFault } = bounds
  if (bytes.length > bytesMax) throw new ZipFault(`larger than ${bytesMax} bytes`)
  const zip = await openZip(bytes)
  const members = new Map<string, Uint8Array>()
  let total = 0
  for await (const entry of entriesOf(zip)) {
    const path = nameOf(entry)
    if (path.endsWith('/') && path.length > 1) continue
    if (members.size >= membersMax) throw new ZipFault(`more than ${membersMax} files`)
    if (members.has(path)) throw new ZipFault(`'${path}' is in it twice`)
    const fault = pathFault?.(path)
    if (fault) throw new ZipFault(`'${path}' ${fault}`)
    if (isSymlink(entry)) throw new ZipFault(`'${path}' is a symbolic link`)
    total += entry.uncompressedSize
    if (total > bytesMax) throw new ZipFault(`more than ${bytesMax} bytes when unpacked`)
    members.set(path, await readEntry(zip, entry))
  }
  return members
}

function openZip(bytes: Uint8Array): Promise<ZipFile> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return new Promise((resolve, reject) => {
    fromBuffer(buffer, { lazyEntries: true, decodeStrings: false, validateEntrySizes: true }, (error, zip) =>
      error ? reject(new ZipFault(`not a ZIP archive (${error.message})`)) : resolve(zip),
    )
  })
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | undefined>((resolve, reject) => {
      zip.once('entry', resolve)
      zip.once('end', () => resolve(undefined))
      zip.once('error', (error: Error) => reject(new ZipFault(error.message)))
      zip.readEntry()
    })
    zip.removeAllListeners()
    if (!entry) return
    yield entry
  }
}

/** Other work goes on meanwhile. */
async function readEntry(zip: ZipFile, entry: Entry): Promise<Uint8Array> {
  const content = Buffer.allocUnsafeSlow(entry.uncompressedSize)
  const turn = takeTurns()
  let length = 0
  let sum = 0
  try {
    if (entry.isEncrypted()) throw new Error('encrypted')
    for await (const chunk of await openEntry(zip, entry)) {
      length += (chunk as Buffer).copy(content, length)
      sum = crc32(chunk, sum)
      await turn()
    }
  } catch (error) {
    throw new ZipFault(`'${nameOf(entry)}' cannot be read (${errorText(error)})`)
  }
  if (length !== content.length || sum !== entry.crc32) throw new ZipFault(`'${nameOf(entry)}' is damaged (CRC)`)
  return content
}

function openEntry(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)))
  })
}

/** Names are UTF-8 and say so, or ASCII. The list of contents is UTF-8, so names in other encodings could not be found there. */
function nameOf({ fileName, generalPurposeBitFlag }: Entry): string {
  // The declared type holds for decoded names only.
  const bytes = fileName as unknown as Buffer
  const isUtf8 = (generalPurposeBitFlag & 0x800) !== 0
  if (isUtf8 ? !isUtf8Text(bytes) : bytes.some((byte) => byte > 0x7f)) throw new ZipFault('a name in it is not UTF-8')
  return bytes.toString()
}

function isSymlink(entry: Entry): boolean {
  return ((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000
}
