import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/**
 * Counts what a body holds before any object is built from it. The decoder makes an object of each message, so two bytes
 * can become a hundred; and it trusts lengths and wire types. This scan follows the descriptor over the bytes, allocates
 * nothing, stops at the first bound, and rejects what the decoder would misread.
 *
 * @param length of the whole body, if `bytes` are only its first ones: what is wrong with these is wrong with the body.
 */
export function scanBody(desc: DescMessage, bytes: Uint8Array, bounds: ScanBounds, length = bytes.length): void {
  const { decodedBytesMin, fourTimesUpTo = 0 } = bounds
  const decodedBytesMax = Math.max(3 * length, decodedBytesMin, Math.min(4 * length, fourTimesUpTo))
  try {
    new BodyScan(bytes, bounds, decodedBytesMax).message(planOf(desc), length, 1)
  } catch (error) {
    if (error !== notArrived) throw error
  }
}

/** Thrown where the bytes end before their body does. */
const notArrived = Symbol('not arrived')

/** One text may have `limits.stringBytesMax` unless the bounds say otherwise. */
export interface ScanBounds {
  readonly elementsMax: number
  readonly decodedBytesMin: number
  readonly fourTimesUpTo?: number
  readonly stringBytesMax?: number
}

/** What the decoder makes of a field, and about how many bytes of memory that takes; measured with protobuf-es 2.17. */
interface FieldPlan {
  readonly wireType: number
  /** For lists of numbers, which may come packed: the wire type of an item, and the memory of one. */
  readonly item?: { readonly wireType: number; readonly weight: number }
  readonly message?: MessagePlan
  readonly isString: boolean
  readonly weight: number
}

interface MessagePlan {
  readonly weight: number
  readonly fields: ReadonlyMap<number, FieldPlan>
  /** Those whose numbers take one byte, by number. */
  readonly frequent: readonly (FieldPlan | undefined)[]
}

/**
 * Bytes of memory. A piece of a packed list takes none, but time: programs write a list in one piece, and a body of empty
 * pieces must be rejected early.
 */
const weights = {
  piece: 16,
  message: 80,
  list: 32,
  string: 24,
  bytes: 120,
  integer64: 34,
  number: 8,
  mapEntry: 160,
  unknown: 170,
}

const varint = 0
const fixed64 = 1
const delimited = 2
const groupStart = 3
const groupEnd = 4
const fixed32 = 5

class BodyScan {
  readonly #bytes: Uint8Array
  readonly #elementsMax: number
  readonly #stringBytesMax: number
  readonly #decodedBytesMax: number
  #position = 0
  #elements = 0
  #decodedBytes = 0

  constructor(bytes: Uint8Array, bounds: ScanBounds, decodedBytesMax: number) {
    this.#bytes = bytes
    this.#elementsMax = bounds.elementsMax
    this.#stringBytesMax = bounds.stringBytesMax ?? limits.stringBytesMax
    this.#decodedBytesMax = decodedBytesMax
  }

  message(plan: MessagePlan, end: number, depth: number): void {
    if (depth > limits.messageDepthMax) throw malformed(`nested deeper than ${limits.messageDepthMax}`)
    while (this.#position < end) {
      const tag = this.#varint(end)
      const wireType = tag & 7
      if (tag >>> 3 === 0) throw malformed('a field without a number')
      const field = tag < 0x80 ? plan.frequent[tag >>> 3] : plan.fields.get(tag >>> 3)
      if (!field) {
        this.#count(weights.unknown)
        this.#skip(wireType, tag >>> 3, end, depth)
      } else if (wireType === field.wireType) {
        this.#count(field.weight)
        this.#known(field, end, depth)
      } else if (field.item && wireType === field.item.wireType) {
        this.#count(field.item.weight)
        this.#skip(wireType, tag >>> 3, end, depth)
      } else throw malformed('a field of another type')
    }
  }

  #known(field: FieldPlan, end: number, depth: number): void {
    if (field.wireType !== delimited) {
      this.#skip(field.wireType, 0, end, depth)
      return
    }
    const fieldEnd = this.#delimited(end)
    if (field.message) this.message(field.message, fieldEnd, depth + 1)
    else if (field.item) this.#packed(field.item, fieldEnd)
    else {
      if (field.isString) this.#text(fieldEnd - this.#position)
      this.#position = fieldEnd
    }
  }

  #text(length: number): void {
    if (length > this.#stringBytesMax) throw tooComplex(`a text of more than ${this.#stringBytesMax} bytes`)
    this.#decodedBytes += length
  }

  #packed({ wireType, weight }: NonNullable<FieldPlan['item']>, end: number): void {
    if (wireType === varint) {
      while (this.#position < end) {
        this.#count(weight)
        this.#skip(varint, 0, end, 0)
      }
      return
    }
    const size = wireType === fixed64 ? 8 : 4
    const length = end - this.#position
    if (length % size !== 0) throw malformed('a list that ends within an item')
    this.#count(weight, length / size)
    this.#position = end
  }

  #skip(wireType: number, number: number, end: number, depth: number): void {
    switch (wireType) {
      case varint:
        this.#varint(end)
        break
      case fixed64:
        this.#advance(8, end)
        break
      case fixed32:
        this.#advance(4, end)
        break
      case delimited:
        this.#position = this.#delimited(end)
        break
      case groupStart:
        this.#group(number, end, depth + 1)
        break
      default:
        throw malformed(`wire type ${wireType}`)
    }
  }

  /** Groups belong to no message of ours: each of their fields counts as unknown. */
  #group(number: number, end: number, depth: number): void {
    if (depth > limits.messageDepthMax) throw malformed(`nested deeper than ${limits.messageDepthMax}`)
    while (this.#position < end) {
      const tag = this.#varint(end)
      if ((tag & 7) === groupEnd) {
        if (tag >>> 3 !== number) throw malformed('the end of another group')
        return
      }
      this.#count(weights.unknown)
      this.#skip(tag & 7, tag >>> 3, end, depth)
    }
    throw malformed('a group without an end')
  }

  #count(weight: number, elements = 1): void {
    this.#elements += elements
    this.#decodedBytes += weight * elements
    if (this.#elements > this.#elementsMax) throw tooComplex(`more than ${this.#elementsMax} fields and list items`)
    if (this.#decodedBytes > this.#decodedBytesMax) throw tooComplex('too many fields for its size')
  }

  #delimited(end: number): number {
    const length = this.#varint(end)
    if (length > end - this.#position) throw malformed('a field that ends after its message')
    return this.#position + length
  }

  #advance(length: number, end: number): void {
    this.#position += length
    if (this.#position > end) throw malformed('a field that ends after its message')
  }

  /** The low 32 bits of a varint of at most 10 bytes. */
  #varint(end: number): number {
    if (this.#position >= end) throw malformed('a number that ends after its message')
    const first = this.#bytes[this.#position++]
    if (first === undefined) throw notArrived
    if (first < 0x80) return first
    let value = first & 0x7f
    for (let shift = 7; shift < 70; shift += 7) {
      if (this.#position >= end) throw malformed('a number that ends after its message')
      const byte = this.#bytes[this.#position++]
      if (byte === undefined) throw notArrived
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    throw malformed('a number of more than 10 bytes')
  }
}

const plans = new WeakMap<DescMessage, MessagePlan>()

function planOf(desc: DescMessage): MessagePlan {
  const known = plans.get(desc)
  if (known) return known
  const fields = new Map<number, FieldPlan>()
  const containers = desc.fields.filter(({ fieldKind }) => fieldKind === 'list' || fieldKind === 'map').length
  const frequent: (FieldPlan | undefined)[] = new Array(16).fill(undefined)
  const plan = { weight: weights.message + weights.list * (containers + desc.oneofs.length), fields, frequent }
  // Entered before its fields: messages may hold themselves.
  plans.set(desc, plan)
  for (const field of desc.fields) {
    const fieldPlan = planOfField(field)
    fields.set(field.number, fieldPlan)
    if (field.number < 16) frequent[field.number] = fieldPlan
  }
  return plan
}

function planOfField(field: DescField): FieldPlan {
  if (field.fieldKind === 'map') return planOfMap(field)
  if (field.message) {
    const message = planOf(field.message)
    return { wireType: delimited, message, isString: false, weight: message.weight }
  }
  const { wireType, weight } = scalarPlan(field.fieldKind === 'enum' ? undefined : field.scalar)
  const isString = field.scalar === ScalarType.STRING
  if (field.fieldKind === 'list' && wireType !== delimited)
    return { wireType: delimited, item: { wireType, weight }, isString, weight: weights.piece }
  return { wireType, isString, weight }
}

function planOfMap(field: DescField & { fieldKind: 'map' }): FieldPlan {
  const value: FieldPlan = field.message
    ? { wireType: delimited, message: planOf(field.message), isString: false, weight: planOf(field.message).weight }
    : { ...scalarPlan(field.scalar), isString: field.scalar === ScalarType.STRING }
  const key: FieldPlan = { ...scalarPlan(field.mapKey), isString: field.mapKey === ScalarType.STRING }
  const fields = new Map([
    [1, key],
    [2, value],
  ])
  const message = { weight: weights.mapEntry, fields, frequent: [undefined, key, value] }
  return { wireType: delimited, message, isString: false, weight: weights.mapEntry }
}

/** `undefined` stands for an enum. */
function scalarPlan(scalar: ScalarType | undefined): { wireType: number; weight: number } {
  switch (scalar) {
    case ScalarType.STRING:
      return { wireType: delimited, weight: weights.string }
    case ScalarType.BYTES:
      return { wireType: delimited, weight: weights.bytes }
    case ScalarType.DOUBLE:
      return { wireType: fixed64, weight: weights.number }
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { wireType: fixed64, weight: weights.integer64 }
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return { wireType: fixed32, weight: weights.number }
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
      return { wireType: varint, weight: weights.integer64 }
    default:
      return { wireType: varint, weight: weights.number }
  }
}

function malformed(what: string): DomainError {
  return new DomainError('invalid-payload', `The body has ${what}.`)
}

function tooComplex(what: string): DomainError {
  return new DomainError('message-too-large', `The message holds ${what}: send less in one call.`)
}
