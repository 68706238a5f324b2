/**
 * Steps through DER without building objects of it. For revocation lists and OCSP responses alone: an ASN.1 library makes
 * several objects of each of a hundred thousand entries, which takes seconds, and the event loop stands still meanwhile.
 */
export interface Element {
  readonly tag: number
  /** Where its header begins, its content begins, and its content ends. */
  readonly at: number
  readonly from: number
  readonly to: number
}

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const

/** The element at `at`, which must end by `end`. Throws an Error where that is no DER. */
export function elementAt(bytes: Uint8Array, at: number, end: number): Element {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || at + 2 > end) throw new Error('cut short')
  if ((tag & 0x1f) === 0x1f) throw new Error('a tag of several bytes')
  if (first < 0x80) return within({ tag, at, from: at + 2, to: at + 2 + first }, end)
  const count = first & 0x7f
  if (count === 0 || count > 4) throw new Error('a length that is not of DER')
  let length = 0
  for (let index = 0; index < count; index++) length = length * 256 + (bytes[at + 2 + index] ?? Number.NaN)
  if (!(length >= 0x80) || (count > 1 && bytes[at + 2] === 0)) throw new Error('a length that is not the shortest')
  return within({ tag, at, from: at + 2 + count, to: at + 2 + count + length }, end)
}

/** The elements within a constructed one, in their order. */
export function* elementsIn(bytes: Uint8Array, { from, to }: Pick<Element, 'from' | 'to'>): Generator<Element> {
  for (let at = from; at < to; ) {
    const element = elementAt(bytes, at, to)
    yield element
    at = element.to
  }
}

/** The first element within a constructed one. */
export function firstIn(bytes: Uint8Array, { from, to }: Element): Element {
  return elementAt(bytes, from, to)
}

/** The one element that these bytes are. Throws an Error where more follows. */
export function wholeOf(bytes: Uint8Array): Element {
  const element = elementAt(bytes, 0, bytes.length)
  if (element.to !== bytes.length) throw new Error('more follows than belongs there')
  return element
}

/** Its bytes, header and all. */
export function bytesOf(bytes: Uint8Array, { at, to }: Element): Uint8Array {
  return bytes.subarray(at, to)
}

/** Hexadecimal of the content. */
export function hexOf(bytes: Uint8Array, { from, to }: Element): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('hex')
}

/** Epoch milliseconds of a UTCTime or GeneralizedTime, as RFC 5280 writes them. */
export function timeOf(bytes: Uint8Array, element: Element): number {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + element.from, element.to - element.from).toString('latin1')
  const isShort = element.tag === tags.utcTime
  if (!isShort && element.tag !== tags.generalizedTime) throw new Error('a date that cannot be read')
  const parts = (isShort ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
    text,
  )
  if (!parts) throw new Error('a date that cannot be read')
  const [year = 0, month = 0, ...rest] = parts.slice(1).map(Number)
  const full = isShort ? year + (year < 50 ? 2000 : 1900) : year
  const at = Date.UTC(full, month - 1, ...(rest as [number, number, number, number]))
  if (new Date(at).getUTCMonth() !== month - 1) throw new Error('a date that does not exist')
  return at
}

export function isTime(element: Element | undefined): element is Element {
  return element?.tag === tags.utcTime || element?.tag === tags.generalizedTime
}

/** Contents of extensions by OID (hexadecimal). Throws for a critical one that is not `known`, and for one that is there twice. */
export function extensionsIn(bytes: Uint8Array, list: Element, known: readonly string[]): Map<string, Element> {
  const found = new Map<string, Element>()
  for (const extension of elementsIn(bytes, list)) {
    const [id, second, third] = elementsIn(bytes, extension)
    const value = third ?? second
    if (id?.tag !== tags.oid || value?.tag !== tags.octetString) throw new Error('an extension cannot be read')
    const name = hexOf(bytes, id)
    const isCritical = third !== undefined && second?.tag === tags.boolean && bytes[second.from] !== 0
    if (isCritical && !known.includes(name)) throw new Error(`critical extension ${name} is not supported`)
    if (found.has(name)) throw new Error(`extension ${name} twice`)
    found.set(name, value)
  }
  return found
}

function within(element: Element, end: number): Element {
  if (!(element.to <= end)) throw new Error('cut short')
  return element
}
