import { contentOf, type Element, elementsIn, Fields, hexOf, oidOf, tags } from './der.ts'

export interface DistinguishedName {
  readonly commonNames: readonly string[]
  readonly organizations: readonly string[]
  readonly units: readonly string[]
  /** As RFC 4514 writes it, most specific first. */
  readonly text: string
}

/** One part of a distinguished name. */
export interface NameAttribute {
  readonly oid: string
  readonly text: string
}

export const emailOid = '1.2.840.113549.1.9.1'
const [commonNameOid, organizationOid, unitOid] = ['2.5.4.3', '2.5.4.10', '2.5.4.11'] as const

const labels: Readonly<Record<string, string>> = {
  [commonNameOid]: 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  [organizationOid]: 'O',
  [unitOid]: 'OU',
  '2.5.4.5': 'serialNumber',
  '0.9.2342.19200300.100.1.25': 'DC',
  [emailOid]: 'emailAddress',
}

/** The attributes of a name in their order, also those that share a part. Throws an Error for what is no name. */
export function readAttributes(der: Uint8Array, name: Element): NameAttribute[] {
  const attributes: NameAttribute[] = []
  for (const part of elementsIn(der, name)) {
    if (part.tag !== tags.set) throw new Error('a name that cannot be read')
    for (const attribute of elementsIn(der, part)) {
      if (attribute.tag !== tags.sequence) throw new Error('a name that cannot be read')
      const fields = new Fields(der, attribute)
      const oid = oidOf(der, fields.need(tags.oid))
      attributes.push({ oid, text: textOf(der, fields.any()) })
      fields.end()
    }
  }
  return attributes
}

export function toDistinguishedName(attributes: readonly NameAttribute[]): DistinguishedName {
  const ofType = (oid: string): string[] => attributes.filter((one) => one.oid === oid).map(({ text }) => text)
  const escaped = (text: string): string => text.replace(/[,+"\\<>;]/g, '\\$&')
  return {
    commonNames: ofType(commonNameOid),
    organizations: ofType(organizationOid),
    units: ofType(unitOid),
    text: attributes
      .toReversed()
      .map(({ oid, text }) => `${labels[oid] ?? oid}=${escaped(text)}`)
      .join(','),
  }
}

const utf8String = 0x0c
const universalString = 0x1c
const bmpString = 0x1e
/** NumericString, PrintableString, TeletexString, VideotexString, IA5String, GraphicString, VisibleString, GeneralString. */
const singleByteStrings: ReadonlySet<number> = new Set([0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1a, 0x1b])

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What is no text is written as RFC 4514 wants it. Broken UTF-8 is an error: two names must not look the same. */
function textOf(der: Uint8Array, value: Element): string {
  const bytes = contentOf(der, value)
  if (value.tag === utf8String) return utf8.decode(bytes)
  if (singleByteStrings.has(value.tag)) return Buffer.from(bytes).toString('latin1')
  if (value.tag === bmpString) return wideText(bytes, 2)
  if (value.tag === universalString) return wideText(bytes, 4)
  return `#${hexOf(der, { from: value.at, to: value.to })}`
}

function wideText(bytes: Uint8Array, width: 2 | 4): string {
  if (bytes.length % width !== 0) throw new Error('a name that cannot be read')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let text = ''
  for (let at = 0; at < bytes.length; at += width)
    text += width === 2 ? String.fromCharCode(view.getUint16(at)) : String.fromCodePoint(view.getUint32(at))
  return text
}
