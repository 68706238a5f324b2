import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { takeTurns } from '../../base/turns.ts'
import type { Certificate } from '../certificate.ts'
import {
  bytesOf,
  type Element,
  elementAt,
  elementsIn,
  extensionsIn,
  firstIn,
  hexOf,
  isTime,
  tags,
  timeOf,
} from './der.ts'
import { SerialIndex } from './serial-index.ts'
import { acceptsAlgorithm, isSignature, isSignatureLater } from './signature.ts'

/** A certificate revocation list (RFC 5280 section 5) as plain values. */
export interface Crl {
  /** DER of the issuer's name, as in {@link Certificate.subjectDer}. */
  readonly issuerDer: string
  readonly issuerText: string
  /** Epoch milliseconds. */
  readonly thisUpdate: number
  readonly nextUpdate: number
  /** It grows from list to list of one issuer; absent in the lists of some CAs, which are ordered by `thisUpdate`. */
  readonly number: bigint | undefined
  /** Serial numbers: see {@link isListed} and {@link listedSerials}. */
  readonly revoked: SerialIndex
  /** What is signed, by which algorithm (OID as hexadecimal), and the signature. */
  readonly tbs: Uint8Array
  readonly algorithm: string
  readonly signature: Uint8Array
  /** Fingerprints of certificates whose keys are known to have signed it. */
  readonly signers: ReadonlySet<string>
}

const oid = {
  crlNumber: '551d14',
  reasonCode: '551d15',
  deltaIndicator: '551d1b',
  issuingDistributionPoint: '551d1c',
  certificateIssuer: '551d1d',
  authorityKeyIdentifier: '551d23',
} as const

/** The certificate was only on hold, and is good again. */
const removeFromCrl = 8

/**
 * Reads a list. Throws an Error that says why it cannot be used: not DER, a delta or indirect list, one that covers only
 * some certificates or reasons, a critical extension that we do not know, or a signature algorithm that is not accepted.
 * Other work goes on meanwhile.
 */
export async function parseCrl(der: Uint8Array): Promise<Crl> {
  const [tbs, algorithm, signature] = parts(der)
  const [version, innerAlgorithm, issuer, thisUpdate, ...rest] = versionFirst(der, tbs)
  if (!innerAlgorithm || !issuer || !thisUpdate) throw new Error('cut short')
  const algorithmHex = hexOf(der, firstIn(der, algorithm))
  if (hexOf(der, algorithm) !== hexOf(der, innerAlgorithm)) throw new Error('it names two signature algorithms')
  if (!acceptsAlgorithm(algorithmHex)) throw new Error('it is signed with an algorithm that is not accepted')
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined
  const extensions = rest[0]?.tag === extensionsTag ? rest.shift() : undefined
  if (rest.length > 0) throw new Error('there is more in it than belongs there')
  const known = extensions
    ? extensionsIn(der, firstIn(der, extensions), Object.values(oid))
    : new Map<string, Element>()
  if (known.size > 0 && !version) throw new Error('it has extensions, but not the version for them')
  const number = known.get(oid.crlNumber)
  ensureComplete(der, known)
  if (!nextUpdate) throw new Error('it does not say when the next one is due (nextUpdate)')
  const name = readName(der, issuer)
  return {
    ...name,
    thisUpdate: timeOf(der, thisUpdate),
    nextUpdate: timeOf(der, nextUpdate),
    number: number && numberOf(der, number),
    revoked: await SerialIndex.of(der, entries ? await readEntries(der, entries) : new Uint32Array()),
    tbs: bytesOf(der, tbs),
    algorithm: algorithmHex,
    signature: der.subarray(signature.from + 1, signature.to),
    signers: new Set(),
  }
}

/** Whether this CA has signed the list and may sign lists. */
export function isSignedBy(crl: Crl, issuer: Certificate): boolean {
  if (!maySign(crl, issuer)) return false
  return (
    crl.signers.has(issuer.fingerprint) || isSignature(crl.signature, crl.algorithm, crl.tbs, issuer.x509.publicKey)
  )
}

/** The list with those of these CAs that have signed it; other work goes on meanwhile. */
export async function withSigners(crl: Crl, cas: readonly Certificate[]): Promise<Crl> {
  const signers = new Set<string>()
  for (const ca of cas.filter((one) => maySign(crl, one))) {
    if (await isSignatureLater(crl.signature, crl.algorithm, crl.tbs, ca.x509.publicKey)) signers.add(ca.fingerprint)
  }
  return { ...crl, signers }
}

function maySign(crl: Crl, issuer: Certificate): boolean {
  if (issuer.subjectDer !== crl.issuerDer || !issuer.isCa) return false
  if (issuer.keyUsages && !issuer.keyUsages.has('cRLSign')) return false
  return issuer.unfitKey === undefined
}

/** A serial number in one way of writing it: hexadecimal in capitals without leading zeros. */
export function serialKey(hex: string): string {
  return hex.replace(/^0+/, '').toUpperCase()
}

/** Whether a list has this serial number, hexadecimal. */
export function isListed({ revoked }: Crl, serial: string): boolean {
  return revoked.has(Buffer.from(serial.length % 2 === 0 ? serial : `0${serial}`, 'hex'))
}

/** The serial numbers of a list, as {@link serialKey} writes them. */
export function listedSerials({ revoked }: Crl): string[] {
  return [...new Set([...revoked].map(serialKey))]
}

const extensionsTag = 0xa0

function parts(der: Uint8Array): [Element, Element, Element] {
  const list = elementAt(der, 0, der.length)
  if (list.tag !== tags.sequence || list.to !== der.length) throw new Error('it is not a revocation list')
  const [tbs, algorithm, signature, ...more] = elementsIn(der, list)
  const isList = tbs?.tag === tags.sequence && algorithm?.tag === tags.sequence && signature?.tag === tags.bitString
  if (!isList || more.length > 0) throw new Error('it is not a revocation list')
  if (der[signature.from] !== 0) throw new Error('its signature cannot be read')
  return [tbs, algorithm, signature]
}

/** The version is optional and comes first; it is 1 (v2) where it is. */
function versionFirst(der: Uint8Array, tbs: Element): (Element | undefined)[] {
  const [first, ...rest] = elementsIn(der, tbs)
  if (first?.tag !== tags.integer) return [undefined, first, ...rest]
  if (hexOf(der, first) !== '01') throw new Error('it is of an unknown version')
  return [first, ...rest]
}

/** Accepts only lists that cover everything their issuer issued, because a certificate that is not listed counts as good. */
function ensureComplete(der: Uint8Array, extensions: ReadonlyMap<string, Element>): void {
  if (extensions.has(oid.deltaIndicator)) throw new Error('it is a delta list: give the complete one')
  const point = extensions.get(oid.issuingDistributionPoint)
  if (!point) return
  // Where it can be fetched ([0]) limits nothing; all other fields do.
  const limits = [...elementsIn(der, firstIn(der, point))].filter(({ tag }) => tag !== extensionsTag)
  const isIndirect = limits.some(({ tag, from }) => tag === 0x84 && der[from] !== 0)
  if (isIndirect) throw new Error('it is an indirect list, which names certificates of other issuers')
  if (limits.length > 0) throw new Error('it covers only some certificates or reasons: give the complete list')
}

/** Where the serial numbers of those are that are revoked now. */
async function readEntries(der: Uint8Array, entries: Element): Promise<Uint32Array> {
  const turn = takeTurns()
  const places: number[] = []
  for (const entry of elementsIn(der, entries)) {
    const serial = elementAt(der, entry.from, entry.to)
    if (serial.tag !== tags.integer || serial.from === serial.to) throw new Error('an entry cannot be read')
    const date = elementAt(der, serial.to, entry.to)
    if (!isTime(date)) throw new Error('an entry cannot be read')
    const isBack = date.to < entry.to && reasonOf(der, elementAt(der, date.to, entry.to)) === removeFromCrl
    if (!isBack) places.push(serial.from, serial.to)
    if (places.length % 512 === 0) await turn()
  }
  return Uint32Array.from(places)
}

function reasonOf(der: Uint8Array, extensions: Element): number | undefined {
  const found = extensionsIn(der, extensions, [oid.reasonCode, oid.certificateIssuer])
  if (found.has(oid.certificateIssuer))
    throw new Error('it is an indirect list, which names certificates of other issuers')
  const value = found.get(oid.reasonCode)
  const code = value && firstIn(der, value)
  return code?.tag === tags.enumerated ? der[code.from] : undefined
}

function numberOf(der: Uint8Array, value: Element): bigint {
  const number = firstIn(der, value)
  const hex = hexOf(der, number)
  if (number.tag !== tags.integer || hex === '' || hex.length > 42) throw new Error('its number cannot be read')
  return BigInt(`0x${hex}`)
}

function readName(der: Uint8Array, issuer: Element): { issuerDer: string; issuerText: string } {
  const { result, offset } = asn1js.fromBER(der.slice(issuer.at, issuer.to))
  if (offset < 0) throw new Error('its issuer cannot be read')
  const name = new pkijs.RelativeDistinguishedNames({ schema: result })
  const text = name.typesAndValues.map(({ value }) => String(value.valueBlock.value)).join(', ')
  return { issuerDer: Buffer.from(name.toSchema().toBER()).toString('hex'), issuerText: text.replace(/[^ -~]/g, '?') }
}
