import { errorText } from '../base/errors.ts'
import type { Extension } from './certificate-fields.ts'
import {
  booleanOf,
  contentOf,
  type Element,
  elementsIn,
  Fields,
  hexOf,
  oidOf,
  onlyIn,
  smallNumberOf,
  tags,
} from './der.ts'
import { type GeneralName, readGeneralName, readGeneralNames } from './general-name.ts'
import { type NameConstraints, readNameConstraints } from './name-constraints.ts'

/** Reads the extensions that say what a certificate is good for (RFC 5280 section 4.2). One that cannot be read is an error. */
export interface ReadExtensions {
  readonly isCa: boolean
  readonly pathLength: number | undefined
  readonly keyUsages: ReadonlySet<KeyUsage> | undefined
  readonly extendedKeyUsages: readonly string[] | undefined
  readonly nameConstraints: NameConstraints | undefined
  readonly altNames: readonly GeneralName[] | undefined
  readonly subjectKeyId: string | undefined
  readonly authorityKeyId: string | undefined
  readonly accessPoints: readonly AccessPoint[]
}

/** Where a service of the CA is found, e.g. its OCSP responder. */
export interface AccessPoint {
  readonly method: string
  readonly location: GeneralName
}

const keyUsageBits = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const
export type KeyUsage = (typeof keyUsageBits)[number]

export const extensionOids = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  authorityInfo: '1.3.6.1.5.5.7.1.1',
} as const

export function readExtensionValues(der: Uint8Array, extensions: ReadonlyMap<string, Extension>): ReadExtensions {
  const read = <T>(oid: string, tag: number, parse: (der: Uint8Array, value: Element) => T): T | undefined => {
    const extension = extensions.get(oid)
    if (!extension) return undefined
    try {
      return parse(der, onlyIn(der, extension.octets, tag))
    } catch (error) {
      throw new Error(`extension ${oid} cannot be read: ${errorText(error)}`, { cause: error })
    }
  }
  const { sequence, bitString, octetString } = tags
  const constraints = read(extensionOids.basicConstraints, sequence, readBasicConstraints)
  return {
    isCa: constraints?.isCa ?? false,
    pathLength: constraints?.pathLength,
    keyUsages: read(extensionOids.keyUsage, bitString, readKeyUsages),
    extendedKeyUsages: read(extensionOids.extendedKeyUsage, sequence, readOids),
    nameConstraints: read(extensionOids.nameConstraints, sequence, readNameConstraints),
    altNames: read(extensionOids.subjectAltName, sequence, readGeneralNames),
    subjectKeyId: read(extensionOids.subjectKeyId, octetString, hexOf),
    authorityKeyId: read(extensionOids.authorityKeyId, sequence, readAuthorityKeyId),
    accessPoints: read(extensionOids.authorityInfo, sequence, readAccessPoints) ?? [],
  }
}

function readBasicConstraints(der: Uint8Array, value: Element): { isCa: boolean; pathLength: number | undefined } {
  const fields = new Fields(der, value)
  const isCa = fields.take(tags.boolean)
  const pathLength = fields.take(tags.integer)
  fields.end()
  return {
    isCa: isCa !== undefined && booleanOf(der, isCa),
    pathLength: pathLength && smallNumberOf(der, pathLength),
  }
}

/** The first byte says how many of the last bits are not used; they are zero. */
function readKeyUsages(der: Uint8Array, value: Element): ReadonlySet<KeyUsage> {
  const [unused = 8, ...bytes] = contentOf(der, value)
  if (unused > 7) throw new Error('a bit string that cannot be read')
  return new Set(keyUsageBits.filter((_, index) => ((bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0))
}

function readOids(der: Uint8Array, value: Element): string[] {
  return [...elementsIn(der, value)].map((element) => {
    if (element.tag !== tags.oid) throw new Error('another element than belongs there')
    return oidOf(der, element)
  })
}

const [keyIdTag, issuerTag, serialTag] = [0x80, 0xa1, 0x82] as const

function readAuthorityKeyId(der: Uint8Array, value: Element): string | undefined {
  const fields = new Fields(der, value)
  const keyId = fields.take(keyIdTag)
  fields.take(issuerTag)
  fields.take(serialTag)
  fields.end()
  return keyId && hexOf(der, keyId)
}

function readAccessPoints(der: Uint8Array, value: Element): AccessPoint[] {
  return [...elementsIn(der, value)].map((element) => {
    const fields = new Fields(der, element)
    const method = oidOf(der, fields.need(tags.oid))
    const location = readGeneralName(der, fields.any())
    fields.end()
    return { method, location }
  })
}
