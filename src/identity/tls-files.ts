import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { errorText, UsageError } from '../base/errors.ts'
import { type Certificate, parseCertificate, serverAuthOid } from './certificate.ts'
import { hasPrivateKey, isPem, nameOf, pemCertificates, toPem } from './pem.ts'
import type { TlsMaterial } from './tls-source.ts'

/** Reads TLS files as a whole set, and says in one sentence which flag, which file and what would help. */

/** A file and the flag (or configuration key) that named it. */
export interface FileFlag {
  readonly flag: string
  readonly path: string
  /** If `path` is a folder: the names of the files that count; all by default. */
  readonly names?: readonly string[]
}

export interface ReadMaterial {
  readonly material: TlsMaterial
  /** The leaf of the pair, when there is one. */
  readonly leaf: Certificate | undefined
  readonly warnings: readonly string[]
}

export interface ServerTlsFiles {
  readonly certfile: FileFlag
  readonly keyfile: FileFlag
  readonly caFile: FileFlag
}

export interface ClientTlsFiles {
  readonly roots: FileFlag | undefined
  readonly certfile: FileFlag | undefined
  readonly keyfile: FileFlag | undefined
}

/** What files also look like while they are being replaced: a key and a certificate that do not fit, or an empty file. */
export class UnsettledFilesError extends UsageError {}

/** How long ago a file may have changed for it to be taken for one that is being replaced. */
const beingReplacedMs = 2000
const readAgainMs = 50
/** Files that are replaced all the time are not waited for. */
const readAtStartMsMax = 10_000

/**
 * Reads TLS files at the start of a program. Many tools replace a pair one file after the other, and empty a file before they
 * write it: what is read in between is read again, for as long as one of `files` changed less than two seconds ago. Blocks the
 * thread meanwhile. Throws what `read` throws.
 */
export function readAtStart<T>(files: ServerTlsFiles | ClientTlsFiles, read: () => T): T {
  const endsAt = performance.now() + readAtStartMsMax
  const pause = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  for (;;) {
    try {
      return read()
    } catch (error) {
      const maySettle = error instanceof UnsettledFilesError && performance.now() < endsAt
      if (!maySettle || !pathsOf(files).some(hasChangedLately)) throw error
      Atomics.wait(pause, 0, 0, readAgainMs)
    }
  }
}

function hasChangedLately(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats !== undefined && Math.abs(Date.now() - stats.ctimeMs) < beingReplacedMs
}

/** The paths of those files that were given. */
export function pathsOf(files: ServerTlsFiles | ClientTlsFiles): string[] {
  const flags: (FileFlag | undefined)[] = Object.values(files)
  return flags.flatMap((file) => (file === undefined ? [] : [file.path]))
}

/** The server's pair and CA. An expired certificate is a warning: clients will tell, and the operator must get in. */
export function readServerTls(files: ServerTlsFiles & { now: number }): ReadMaterial {
  for (const file of [files.caFile, files.certfile, files.keyfile]) ensureFile(file)
  const warnings: string[] = []
  const pair = readPair(files.certfile, files.keyfile, warnings)
  const expiry = expiryFault(pair.leaf, files.now)
  if (expiry) warnings.push(`${files.certfile.flag}: the certificate in ${files.certfile.path} ${expiry}.`)
  const use = serverUseFault(pair.leaf)
  if (use) warnings.push(`${files.certfile.flag}: the certificate in ${files.certfile.path} ${use}.`)
  const cas = readCertificates(files.caFile)
  warnings.push(...expiredCas(files.caFile, cas, files.now, 'clients that trust no other CA will not connect'))
  return { material: { certificate: { chainPem: pair.chainPem, keyPem: pair.keyPem } }, leaf: pair.leaf, warnings }
}

/**
 * A client's roots and, where given, its own pair. A pair that the server would refuse anyway is refused here.
 * `roots` may be absent: then the system's are trusted.
 */
export function readClientTls(files: ClientTlsFiles & { now: number }): ReadMaterial {
  const { roots, certfile, keyfile } = files
  const trusted = roots && readCertificates(roots)
  const rootsPem = trusted && pemOf(trusted)
  const warnings =
    trusted === undefined ? [] : expiredCas(roots as FileFlag, trusted, files.now, 'servers below it are not trusted')
  if (!certfile || !keyfile) {
    return { material: rootsPem === undefined ? {} : { rootsPem }, leaf: undefined, warnings }
  }
  const pair = readPair(certfile, keyfile, warnings)
  const expiry = expiryFault(pair.leaf, files.now)
  if (expiry) throw new UsageError(`${certfile.flag}: the certificate in ${certfile.path} ${expiry}.`)
  const { namedCurve } = pair.leaf.x509.publicKey.asymmetricKeyDetails ?? {}
  if (namedCurve !== undefined && !presentableCurves.test(namedCurve))
    throw new UsageError(
      `${certfile.flag}: the key of ${certfile.path} is on the curve ${namedCurve}, which a TLS client cannot present: have one issued for a key on P-256.`,
    )
  const material = {
    certificate: { chainPem: pair.chainPem, keyPem: pair.keyPem },
    ...(rootsPem === undefined ? {} : { rootsPem }),
  }
  return { material, leaf: pair.leaf, warnings }
}

/** With a key on another curve a TLS client sends no certificate at all, and the server says that none was presented. */
const presentableCurves = /^(prime256v1|secp384r1|secp521r1|brainpoolP\d+r1)$/

/** Returns why no client will accept a server with this certificate, as the rest of a sentence. */
function serverUseFault({ extendedKeyUsages, names }: Certificate): string | undefined {
  if (extendedKeyUsages && !extendedKeyUsages.includes(serverAuthOid))
    return 'is not for servers, so clients will reject it: have it issued with the extended key usage serverAuth'
  return names.dns.length + names.ips.length === 0
    ? 'names no host, so clients will reject it: have it issued with the host name or address as subject alternative name'
    : undefined
}

/** Half a pair is a mistake. */
export function checkPairGiven(
  certfile: FileFlag | undefined,
  keyfile: FileFlag | undefined,
  names: { certfile: string; keyfile: string },
): void {
  if (certfile && !keyfile) throw new UsageError(`${names.certfile} needs ${names.keyfile}: give both or neither.`)
  if (keyfile && !certfile) throw new UsageError(`${names.keyfile} needs ${names.certfile}: give both or neither.`)
}

export function readTextFile(file: FileFlag): string {
  ensureFile(file)
  let text: string
  try {
    text = readFileSync(file.path, 'utf8')
  } catch (error) {
    throw new UsageError(
      `${file.flag}: ${file.path} cannot be read (${(error as NodeJS.ErrnoException).code}): check its permissions.`,
      { cause: error },
    )
  }
  if (text.trim() === '') throw new UnsettledFilesError(`${file.flag}: ${file.path} is empty.`)
  return text
}

function ensureFile({ flag, path }: FileFlag): void {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats?.isFile()) throw new UsageError(`Path argument \`${flag}\` does not point to a file: ${path}.`)
}

function readPair(
  certfile: FileFlag,
  keyfile: FileFlag,
  warnings: string[],
): { chainPem: string; keyPem: string; leaf: Certificate } {
  const [leaf, ...issuers] = readCertificates(certfile)
  const key = readKey(keyfile, readTextFile(keyfile))
  if (!leaf.x509.checkPrivateKey(key)) {
    const leafIsLater = issuers.some(({ x509 }) => x509.checkPrivateKey(key))
    throw new UnsettledFilesError(
      leafIsLater
        ? `${certfile.flag}: the certificate of ${keyfile.path} is not the first one in ${certfile.path}: put it before the certificates of its issuers.`
        : `${keyfile.flag}: the key in ${keyfile.path} does not belong to the certificate in ${certfile.path}.`,
    )
  }
  if ((statSync(keyfile.path).mode & 0o004) !== 0) {
    warnings.push(`${keyfile.flag}: everybody on this machine can read the private key ${keyfile.path}: chmod 600 it.`)
  }
  const pair = { chainPem: pemOf([leaf, ...issuers]), keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString() }
  ensureUsable(certfile, pair, leaf)
  return { ...pair, leaf }
}

/** What TLS itself would refuse later, such as a key that is too short. */
function ensureUsable(file: FileFlag, pair: { chainPem: string; keyPem: string }, leaf: Certificate): void {
  try {
    if (leaf.unfitKey) throw new Error(leaf.unfitKey)
    createSecureContext({ cert: pair.chainPem, key: pair.keyPem, minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw new UsageError(
      `${file.flag}: the certificate in ${file.path} cannot be used for TLS (${errorText(cause)}): have one issued for an EC key, or an RSA key of 2048 bits or more (8192 at most).`,
      { cause },
    )
  }
}

/** All certificates of a PEM file, of which there is at least one. Throws a UsageError that names flag and file. */
export function readCertificates(file: FileFlag): [Certificate, ...Certificate[]] {
  const text = readTextFile(file)
  if (!isPem(text)) {
    throw new UsageError(
      `${file.flag}: ${file.path} is not a PEM file: PEM is text with -----BEGIN CERTIFICATE----- (openssl x509 -inform der converts).`,
    )
  }
  const unreadable = (which: string, cause: unknown): never => {
    throw new UsageError(`${file.flag}: ${which} in ${file.path} cannot be read (${errorText(cause)}).`, { cause })
  }
  let ders: Uint8Array[] = []
  try {
    ders = pemCertificates(text)
  } catch (cause) {
    unreadable('a certificate', cause)
  }
  const [first, ...rest] = ders.map((der, position) => {
    try {
      return parseCertificate(der)
    } catch (cause) {
      return unreadable(nameOf('certificate', position, ders.length), cause)
    }
  })
  if (first) return [first, ...rest]
  throw new UsageError(
    hasPrivateKey(text)
      ? `${file.flag}: ${file.path} holds a private key where a certificate belongs: were the two files swapped?`
      : `${file.flag}: ${file.path} holds no certificate.`,
  )
}

/** Returns the certificates of a file as PEM that OpenSSL reads, however the blocks of the file were joined. */
export function readCertificatesPem(file: FileFlag): string {
  return pemOf(readCertificates(file))
}

function pemOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ x509 }) => toPem('CERTIFICATE', x509.raw)).join('')
}

function readKey(file: FileFlag, text: string): KeyObject {
  if (!isPem(text))
    throw new UsageError(`${file.flag}: ${file.path} is not a PEM file: PEM is text with -----BEGIN PRIVATE KEY-----.`)
  if (!hasPrivateKey(text)) {
    throw new UsageError(
      /-----BEGIN (?:[A-Z0-9]+ )?CERTIFICATE-----/.test(text)
        ? `${file.flag}: ${file.path} holds a certificate where a private key belongs: were the two files swapped?`
        : `${file.flag}: ${file.path} holds no private key.`,
    )
  }
  if (/ENCRYPTED/.test(text))
    throw new UsageError(`${file.flag}: the private key in ${file.path} is encrypted: give it without a passphrase.`)
  try {
    // Only the key block: certificate and key may share a file.
    const block =
      /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]+?-----END (?:[A-Z]+ )*PRIVATE KEY-----/.exec(text)?.[0] ?? text
    return createPrivateKey(block)
  } catch (error) {
    throw new UsageError(`${file.flag}: the private key in ${file.path} cannot be read.`, { cause: error })
  }
}

/** Returns a warning for each CA of a file that has expired, with the effect that this has. */
export function expiredCas(file: FileFlag, cas: readonly Certificate[], now: number, effect: string): string[] {
  return cas
    .filter(({ isCa, notAfter }) => isCa && notAfter <= now)
    .map(
      ({ subject, notAfter }) =>
        `${file.flag}: the CA ${subject.text} in ${file.path} has expired (on ${new Date(notAfter).toISOString()}): ${effect}. Put its successor into the file.`,
    )
}

/** What the dates of a certificate have against its use now, as the rest of a sentence. */
export function expiryFault(leaf: Certificate, now: number): string | undefined {
  if (leaf.notAfter <= now) return `has expired (on ${new Date(leaf.notAfter).toISOString()}): have it renewed`
  return leaf.notBefore > now
    ? `is not valid yet (from ${new Date(leaf.notBefore).toISOString()}; this machine has ${new Date(now).toISOString()}): check the clocks`
    : undefined
}
