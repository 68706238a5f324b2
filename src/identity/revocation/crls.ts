import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errorText, UsageError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Certificate } from '../certificate.ts'
import type { RevocationData } from '../judge.ts'
import { isPem, pemBlocks } from '../pem.ts'
import type { FileFlag } from '../tls-files.ts'
import { type Crl, isListed, isSignedBy, parseCrl, withSigners } from './crl.ts'

/** What a CA's certificates are worth while no usable list of it is there. */
export interface CrlRule {
  /** Absent: `deny` where there are lists of that CA, `allow` where none was ever given. */
  readonly unavailable: 'allow' | 'deny' | undefined
  /** How long past its nextUpdate a list is still believed, in milliseconds. */
  readonly graceMs: number
}

const filesMax = 1000
const issuersMax = 256
/** How far in the future a list may begin: clocks differ. */
const skewMs = 5 * 60_000

/**
 * Reads the lists of `--ssl-client-crl`: a file or a folder of files, PEM or DER. Each must be signed by the CA of its name
 * where that is among `cas`, and not be older than the one of `previous`. Throws a UsageError that names file and fault.
 * Other work goes on meanwhile, however long the lists are.
 *
 * @param options.checks whether the lists are to be judged by; else they are only looked at.
 */
export async function readCrls(
  file: FileFlag,
  cas: readonly Certificate[],
  { now, previous = [], checks = true }: { now: number; previous?: readonly Crl[]; checks?: boolean },
): Promise<{ crls: Crl[]; warnings: string[] }> {
  const crls: Crl[] = []
  const warnings: string[] = []
  for (const { path, der } of await bytesOf(file)) {
    const fail = (why: string): UsageError => new UsageError(`${file.flag}: ${path}: the revocation list ${why}.`)
    let crl: Crl
    try {
      crl = await withSigners(await parseCrl(der), cas)
    } catch (error) {
      throw fail(`cannot be used: ${errorText(error)}`)
    }
    const named = cas.filter((ca) => ca.subjectDer === crl.issuerDer)
    const signers = named.filter(({ fingerprint }) => crl.signers.has(fingerprint))
    if (named.length > 0 && signers.length === 0)
      throw fail(`names ${crl.issuerText}, but that CA has not signed it, or may not sign lists (key usage cRLSign)`)
    const former = previous.find((one) => isBefore(crl, one) && signers.some((ca) => isSignedBy(one, ca)))
    if (former) throw fail(`of ${crl.issuerText} is older than the one in use (${orderText(crl, former)})`)
    if (named.length === 0)
      warnings.push(
        `${file.flag}: ${path}: ${crl.issuerText} is not among the client CAs: its list is of use only if peers send its certificate.`,
      )
    if (crl.nextUpdate <= now)
      warnings.push(
        `${file.flag}: ${path}: the revocation list of ${crl.issuerText} should have been replaced on ${new Date(crl.nextUpdate).toISOString()}.`,
      )
    crls.push(crl)
  }
  if (checks) ensureOfUse(file, crls, cas, previous)
  return { crls, warnings }
}

/** A missing list must not let a revoked certificate in. */
function ensureOfUse(
  file: FileFlag,
  crls: readonly Crl[],
  cas: readonly Certificate[],
  previous: readonly Crl[],
): void {
  const isOf = (one: Crl, ca: Certificate): boolean => one.issuerDer === ca.subjectDer
  if (!crls.some((crl) => cas.some((ca) => isOf(crl, ca))))
    throw new UsageError(
      `${file.flag}: no revocation list in ${file.path} is of a client CA: give its list, or add the CA that issued these lists to the client CAs.`,
    )
  const lost = previous.find(
    (one) => cas.some((ca) => isOf(one, ca)) && !crls.some(({ issuerDer }) => issuerDer === one.issuerDer),
  )
  if (lost) throw new UsageError(`${file.flag}: there is no list of ${lost.issuerText} any more in ${file.path}.`)
}

/** Judges by lists, as gRPC's A69 does: good, revoked, or not to be told, which the rule of the CA decides. */
export function revocationOf(crls: readonly Crl[], ruleOf: (issuer: Certificate) => CrlRule): RevocationData {
  const byIssuer = Map.groupBy(crls, ({ issuerDer }) => issuerDer)
  /** By fingerprint: peers send certificates of CAs anew with every connection. */
  const signed = new Map<string, Crl | 'none'>()
  /** The newest list that the key of this CA has signed: a CA that got a new key has two. */
  const listOf = (issuer: Certificate): Crl | 'none' => {
    const known = signed.get(issuer.fingerprint)
    if (known) return known
    const lists = (byIssuer.get(issuer.subjectDer) ?? []).filter((crl) => isSignedBy(crl, issuer))
    const newest = lists.reduce<Crl | undefined>(
      (best, crl) => (best && compare(crl, best) <= 0 ? best : crl),
      undefined,
    )
    if (signed.size >= issuersMax) signed.clear()
    signed.set(issuer.fingerprint, newest ?? 'none')
    return newest ?? 'none'
  }
  return {
    check(certificate, issuer, now) {
      const rule = ruleOf(issuer)
      const isKnown = byIssuer.has(issuer.subjectDer)
      const unknown = (why: string): ReturnType<RevocationData['check']> =>
        (rule.unavailable ?? (isKnown ? 'deny' : 'allow')) === 'allow'
          ? undefined
          : { reason: 'revocation-unknown', about: `${issuer.subject.text}: ${why}` }
      if (!isKnown) return unknown('there is no list')
      const crl = listOf(issuer)
      if (crl === 'none') return unknown('its key has signed no list')
      if (certificate.serial.startsWith('-')) return unknown('its serial number is negative')
      if (isListed(crl, certificate.serial))
        return { reason: 'revoked-by-crl', about: `serial ${certificate.serial} of ${issuer.subject.text}` }
      if (crl.nextUpdate + rule.graceMs < now)
        return unknown(`its list was to be replaced on ${new Date(crl.nextUpdate).toISOString()}`)
      if (crl.thisUpdate > now + skewMs) return unknown('its list is of the future')
      return undefined
    },
  }
}

/**
 * Orders the lists of one CA: by date, then by number, which some CAs leave out (EasyRSA, cfssl), then by the number of
 * revoked certificates: of two lists of one second without numbers the stricter counts.
 */
function compare(crl: Crl, other: Crl): number {
  const byNumber = (crl.number ?? -1n) - (other.number ?? -1n)
  return crl.thisUpdate - other.thisUpdate || Number(byNumber) || crl.revoked.size - other.revoked.size
}

function isBefore(crl: Crl, other: Crl): boolean {
  return crl.issuerDer === other.issuerDer && compare(crl, other) < 0
}

function orderText(crl: Crl, former: Crl): string {
  if (crl.thisUpdate !== former.thisUpdate)
    return [crl, former].map(({ thisUpdate }) => new Date(thisUpdate).toISOString()).join(', not ')
  if (crl.number !== former.number) return `number ${crl.number ?? 'none'}, not ${former.number ?? 'none'}`
  return `${crl.revoked.size} certificates of the same second, not ${former.revoked.size}`
}

async function bytesOf(file: FileFlag): Promise<{ path: string; der: Uint8Array }[]> {
  const found: { path: string; der: Uint8Array }[] = []
  let bytes = 0
  for (const path of await pathsOf(file)) {
    // What is too large is not even read: programs would stand still meanwhile.
    bytes += await sizeOf(file, path)
    if (bytes > limits.revocationListBytesMax)
      throw new UsageError(
        `${file.flag}: ${path}: the revocation lists have more than ${limits.revocationListBytesMax >> 20} MiB: have the CA leave out certificates that have expired.`,
      )
    const content = await read(file, path)
    const text = content.subarray(0, 64 * 1024).toString('latin1')
    if (content.length > 0 && !isPem(text) && content[0] !== 0x30)
      throw new UsageError(
        `${file.flag}: ${path} is not a revocation list (PEM or DER): a folder of lists must hold nothing else.`,
      )
    if (!isPem(text)) found.push({ path, der: content })
    else for (const der of blocksOf(file, path, content.toString('latin1'))) found.push({ path, der })
  }
  return found
}

function blocksOf(file: FileFlag, path: string, text: string): Uint8Array[] {
  try {
    const blocks = pemBlocks(text, 'X509 CRL', 'revocation list')
    if (blocks.length > 0) return blocks
  } catch (error) {
    throw new UsageError(`${file.flag}: ${path}: ${errorText(error)}.`)
  }
  throw new UsageError(`${file.flag}: ${path} holds no revocation list (BEGIN X509 CRL).`)
}

/** What is in a folder, as Kubernetes lays it out: its own names begin with two points. */
async function pathsOf(file: FileFlag): Promise<string[]> {
  try {
    if (!(await stat(file.path)).isDirectory()) return [file.path]
    const all = (await readdir(file.path)).filter((name) => !name.startsWith('.')).sort()
    const names = file.names ? all.filter((name) => file.names?.includes(name)) : all
    if (names.length <= filesMax) {
      const paths = names.map((name) => join(file.path, name))
      const areFiles = await Promise.all(paths.map(async (path) => (await stat(path)).isFile()))
      return paths.filter((_, index) => areFiles[index])
    }
  } catch (cause) {
    throw unreadable(file, file.path, cause)
  }
  throw new UsageError(`${file.flag}: ${file.path} holds more than ${filesMax} files.`)
}

async function sizeOf(file: FileFlag, path: string): Promise<number> {
  const { size } = await stat(path).catch((cause) => Promise.reject(unreadable(file, path, cause)))
  return size
}

function read(file: FileFlag, path: string): Promise<Buffer> {
  return readFile(path).catch((cause) => Promise.reject(unreadable(file, path, cause)))
}

function unreadable(file: FileFlag, path: string, cause: unknown): UsageError {
  return new UsageError(`${file.flag}: ${path} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause })
}
