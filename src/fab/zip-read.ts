import { crc32 } from 'node:zlib'
import { type Entry, fromBuffer, type ZipFile } from 'yauzl'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/**
 * Reads a ZIP from a stranger: every member's path, kind, size and CRC is checked, and nothing is written anywhere.
 * Throws `fab-invalid` with what is wrong.
 */
export async function readZip(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  if (bytes.length > limits.fabBytesMax) throw invalid(`larger than ${limits.fabBytesMax} bytes`)
  const zip = await openZip(bytes)
  const members = new Map<string, Uint8Array>()
  let total = 0
  for await (const entry of entriesOf(zip)) {
    const path = entry.fileName
    if (path.endsWith('/')) continue
    if (members.size >= limits.fabFilesMax) throw invalid(`more than ${limits.fabFilesMax} files`)
    if (members.has(path)) throw invalid(`'${path}' is in it twice`)
    ensureSafePath(path)
    if (isSymlink(entry)) throw invalid(`'${path}' is a symbolic link`)
    total += entry.uncompressedSize
    if (total > limits.fabBytesMax) throw invalid(`more than ${limits.fabBytesMax} bytes when unpacked`)
    const content = await readEntry(zip, entry)
    if (crc32(content) !== entry.crc32) throw invalid(`'${path}' is damaged (CRC)`)
    members.set(path, content)
  }
  return members
}

function openZip(bytes: Uint8Array): Promise<ZipFile> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return new Promise((resolve, reject) => {
    fromBuffer(buffer, { lazyEntries: true, strictFileNames: true, validateEntrySizes: true }, (error, zip) =>
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

function readEntry(zip: ZipFile, entry: Entry): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(invalid(`'${entry.fileName}' cannot be read (${error.message})`))
    if (entry.isEncrypted()) return fail(new Error('encrypted'))
    zip.openReadStream(entry, (error, stream) => {
      if (error) return fail(error)
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.once('error', fail)
      stream.once('end', () => resolve(Buffer.concat(chunks)))
    })
  })
}

function ensureSafePath(path: string): void {
  const escapes =
    path.startsWith('/') ||
    /^[a-zA-Z]:/.test(path) ||
    path.includes('\\') ||
    path.includes('\0') ||
    path.split('/').includes('..')
  if (escapes) throw invalid(`'${path}' points outside of the archive`)
}

function isSymlink(entry: Entry): boolean {
  return ((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000
}

export function invalid(what: string): DomainError {
  return new DomainError('fab-invalid', `Invalid FAB: ${what}.`)
}
