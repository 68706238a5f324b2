import { isUtf8 as isUtf8Text } from 'node:buffer'
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { type Entry, fromBuffer, type ZipFile } from 'yauzl'
import { DomainError, errorText } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { printable, shortened } from '../base/printable.ts'
import { takeTurns } from '../base/turns.ts'
import { memberPathFault } from './member-paths.ts'

/**
 * Reads an untrusted ZIP: checks the path, kind, size and CRC of every member. Writes nothing. Throws `fab-invalid` with
 * what is wrong.
 */
export async function readZip(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  if (bytes.length > limits.fabBytesMax) throw invalid(`larger than ${limits.fabBytesMax} bytes`)
  const zip = await openZip(bytes)
  const members = new Map<string, Uint8Array>()
  let total = 0
  for await (const entry of entriesOf(zip)) {
    const path = nameOf(entry)
    if (path.endsWith('/') && path.length > 1) continue
    if (members.size >= limits.fabFilesMax) throw invalid(`more than ${limits.fabFilesMax} files`)
    if (members.has(path)) throw invalid(`'${path}' is in it twice`)
    const fault = memberPathFault(path)
    if (fault) throw invalid(`'${path}' ${fault}`)
    if (isSymlink(entry)) throw invalid(`'${path}' is a symbolic link`)
    total += entry.uncompressedSize
    if (total > limits.fabBytesMax) throw invalid(`more than ${limits.fabBytesMax} bytes when unpacked`)
    members.set(path, await readEntry(zip, entry))
  }
  return members
}

function openZip(bytes: Uint8Array): Promise<ZipFile> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return new Promise((resolve, reject) => {
    fromBuffer(buffer, { lazyEntries: true, decodeStrings: false, validateEntrySizes: true }, (error, zip) =>
      error ? reject(invalid(`not a ZIP archive (${error.message})`)) : resolve(zip),
    )
  })
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | undefined>((resolve, reject) => {
      zip.once('entry', resolve)
      zip.once('end', () => resolve(undefined))
      zip.once('error', (error: Error) => reject(invalid(error.message)))
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
    throw invalid(`'${nameOf(entry)}' cannot be read (${errorText(error)})`)
  }
  if (length !== content.length || sum !== entry.crc32) throw invalid(`'${nameOf(entry)}' is damaged (CRC)`)
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
  if (isUtf8 ? !isUtf8Text(bytes) : bytes.some((byte) => byte > 0x7f)) throw invalid('a name in it is not UTF-8')
  return bytes.toString()
}

function isSymlink(entry: Entry): boolean {
  return ((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000
}

/** Its sentence goes to logs and terminals, and may hold names from the bundle. */
export function invalid(what: string): DomainError {
  return new DomainError('fab-invalid', `Invalid FAB: ${shortened(printable(what), 500)}.`)
}
