import {
  booleanOf,
  contentOf,
  type Element,
  elementsIn,
  Fields,
  oidOf,
  onlyIn,
  smallNumberOf,
  tags,
  wholeOf,
} from './der.ts'

/** Finds the fields of a certificate in its bytes, as RFC 5280 section 4.1 orders them. Interprets none of them. */
export interface CertificateFields {
  /** 0 for version 1, and 2 for version 3. */
  readonly version: number
  readonly serial: Uint8Array
  readonly issuer: Element
  readonly subject: Element
  /** An elliptic curve that is spelled out has no name. */
  readonly hasNamedCurve: boolean
  readonly extensions: ReadonlyMap<string, Extension>
}

export interface Extension {
  readonly isCritical: boolean
  /** Holds the value. */
  readonly octets: Element
}

const [versionTag, issuerIdTag, subjectIdTag, extensionsTag] = [0xa0, 0x81, 0x82, 0xa3] as const

/** Throws an Error for bytes that are no certificate, and for an extension that is there twice. */
export function readFields(der: Uint8Array): CertificateFields {
  const certificate = new Fields(der, wholeOf(der))
  const fields = new Fields(der, certificate.need(tags.sequence))
  const version = fields.take(versionTag)
  const serial = fields.need(tags.integer)
  fields.need(tags.sequence) // how it was signed
  const issuer = fields.need(tags.sequence)
  fields.need(tags.sequence) // from when until when it is valid
  const subject = fields.need(tags.sequence)
  const key = fields.need(tags.sequence)
  fields.take(issuerIdTag)
  fields.take(subjectIdTag)
  const extensions = fields.take(extensionsTag)
  fields.end()
  return {
    version: version ? smallNumberOf(der, onlyIn(der, version, tags.integer)) : 0,
    serial: contentOf(der, serial),
    ...{ issuer, subject },
    hasNamedCurve: namesCurve(der, key),
    extensions: extensions ? readExtensions(der, onlyIn(der, extensions, tags.sequence)) : new Map(),
  }
}

function namesCurve(der: Uint8Array, key: Element): boolean {
  const algorithm = new Fields(der, new Fields(der, key).need(tags.sequence))
  algorithm.need(tags.oid)
  return algorithm.take(tags.oid) !== undefined
}

function readExtensions(der: Uint8Array, list: Element): Map<string, Extension> {
  const found = new Map<string, Extension>()
  for (const extension of elementsIn(der, list)) {
    if (extension.tag !== tags.sequence) throw new Error('an extension cannot be read')
    const fields = new Fields(der, extension)
    const oid = oidOf(der, fields.need(tags.oid))
    const critical = fields.take(tags.boolean)
    const octets = fields.need(tags.octetString)
    fields.end()
    if (found.has(oid)) throw new Error(`extension ${oid} twice`)
    found.set(oid, { isCritical: critical !== undefined && booleanOf(der, critical), octets })
  }
  return found
}
