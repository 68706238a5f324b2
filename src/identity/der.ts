/**
 * Steps through DER without building objects of it. An ASN.1 library makes several objects of each element: that takes
 * seconds for a revocation list of a hundred thousand entries, and milliseconds for each certificate of a fleet that joins.
 * Encodings that are not DER are errors, so that nothing can be written in two ways.
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
  set: 0x31,
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

/** Takes the elements within a constructed one, in their order. Throws an Error where another one comes. */
export class Fields {
  readonly #bytes: Uint8Array
  readonly #to: number
  #at: number

  constructor(bytes: Uint8Array, { from, to }: Pick<Element, 'from' | 'to'>) {
    this.#bytes = bytes
    this.#at = from
    this.#to = to
  }

  /** Returns the next element if it has this tag. */
  take(tag: number): Element | undefined {
    if (this.#at === this.#to || this.#bytes[this.#at] !== tag) return undefined
    return this.#next()
  }

  need(tag: number): Element {
    const element = this.#next()
    if (element.tag !== tag) throw new Error('another element than belongs there')
    return element
  }

  /** Returns the next element, whatever its tag. */
  any(): Element {
    return this.#next()
  }

  end(): void {
    if (this.#at !== this.#to) throw new Error('more follows than belongs there')
  }

  #next(): Element {
    const element = elementAt(this.#bytes, this.#at, this.#to)
    this.#at = element.to
    return element
  }
}

/** The one element within another. Throws an Error unless it has this tag and nothing follows. */
export function onlyIn(bytes: Uint8Array, outer: Pick<Element, 'from' | 'to'>, tag: number): Element {
  const fields = new Fields(bytes, outer)
  const element = fields.need(tag)
  fields.end()
  return element
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
export function hexOf(bytes: Uint8Array, { from, to }: Pick<Element, 'from' | 'to'>): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('hex')
}

/** Its content, which the certificate or list still holds. */
export function contentOf(bytes: Uint8Array, { from, to }: Pick<Element, 'from' | 'to'>): Uint8Array {
  return bytes.subarray(from, to)
}

export function booleanOf(bytes: Uint8Array, { from, to }: Element): boolean {
  if (to - from !== 1) throw new Error('a boolean that cannot be read')
  return bytes[from] !== 0
}

/** A number from 0 on that fits into four bytes. */
export function smallNumberOf(bytes: Uint8Array, { from, to }: Element): number {
  const first = bytes[from] ?? 0x80
  if (from === to || to - from > 4 || first >= 0x80) throw new Error('a number that cannot be read')
  let number = 0
  for (let at = from; at < to; at++) number = number * 256 + (bytes[at] ?? 0)
  return number
}

const oidBytesMax = 64

/** An object identifier with points between its numbers. Each has one spelling: two cannot be told apart by their bytes alone. */
export function oidOf(bytes: Uint8Array, { from, to }: Element): string {
  if (from === to || to - from > oidBytesMax) throw new Error('an object identifier that cannot be read')
  const arcs: (number | bigint)[] = []
  let arc: number | bigint = 0
  let isFirstByte = true
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number
    if (isFirstByte && byte === 0x80) throw new Error('an object identifier that cannot be read')
    isFirstByte = byte < 0x80
    if (typeof arc === 'number' && arc > 2 ** 45) arc = BigInt(arc)
    arc = typeof arc === 'number' ? arc * 128 + (byte & 0x7f) : arc * 128n + BigInt(byte & 0x7f)
    if (!isFirstByte) continue
    arcs.push(arc)
    arc = 0
  }
  if (!isFirstByte) throw new Error('an object identifier that cannot be read')
  const [first = 0, ...rest] = arcs
  const top = first < 40 ? 0 : first < 80 ? 1 : 2
  const second = typeof first === 'number' ? first - top * 40 : first - BigInt(top * 40)
  return [top, second, ...rest].join('.')
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
