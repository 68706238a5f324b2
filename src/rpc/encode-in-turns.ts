import {
  create,
  type DescField,
  type DescMessage,
  isFieldSet,
  type Message,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { takeTurns } from '../base/turns.ts'

/** A message as bytes, in parts: large contents stay where they are. */
export type Encoded = readonly Uint8Array[]

export function lengthOf(parts: readonly { readonly length: number }[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

/**
 * Encodes a message without holding up other work: a large one is cut into slices of its fields, and large bytes are not
 * copied. Small messages are encoded at once.
 */
export async function encodeInTurns(desc: DescMessage, message: Message): Promise<Encoded> {
  const parts: Uint8Array[] = []
  await encodeInto(parts, desc, message, takeTurns())
  return parts
}

/** The same as one array, which is filled in turns too. */
export async function bytesInTurns(desc: DescMessage, message: Message): Promise<Uint8Array> {
  const parts = await encodeInTurns(desc, message)
  const [first] = parts
  if (parts.length === 1 && first) return first
  const turn = takeTurns()
  const bytes = Buffer.allocUnsafeSlow(lengthOf(parts))
  let length = 0
  for (const part of parts) {
    for (let start = 0; start < part.length; start += pieceBytesMax) {
      bytes.set(part.subarray(start, start + pieceBytesMax), length + start)
      await turn()
    }
    length += part.length
  }
  return bytes
}

/** What is encoded in one go, in bytes: a few milliseconds of work. */
const pieceBytesMax = 256 * 1024

type Turn = () => Promise<void> | undefined

async function encodeInto(parts: Uint8Array[], desc: DescMessage, message: Message, turn: Turn): Promise<void> {
  if (!isLarge(message)) {
    parts.push(toBinary(desc, message))
    await turn()
    return
  }
  const small = create(desc)
  if (message.$unknown) small.$unknown = message.$unknown
  for (const field of desc.fields) {
    if (!isFieldSet(message, field)) continue
    const value = fieldValue(message, field)
    if (!isLarge(value)) setValue(small, field, value)
    else if (field.fieldKind === 'list' || field.fieldKind === 'map') await slices(parts, desc, field, value, turn)
    else if (field.fieldKind === 'message') {
      const inner: Uint8Array[] = []
      await encodeInto(inner, field.message, value as Message, turn)
      parts.push(headOf(field, lengthOf(inner)), ...inner)
    } else if (value instanceof Uint8Array) parts.push(headOf(field, value.length), value)
    else {
      const text = await encodeText(value as string, turn)
      parts.push(headOf(field, lengthOf(text)), ...text)
    }
  }
  parts.push(toBinary(desc, small))
  await turn()
}

/** A list or map that comes in several pieces is read as one. A large item of a list is cut itself. */
async function slices(
  parts: Uint8Array[],
  desc: DescMessage,
  field: DescField,
  value: unknown,
  turn: Turn,
): Promise<void> {
  const isList = Array.isArray(value)
  const items: readonly unknown[] = isList ? value : Object.entries(value as object)
  const flush = async (from: number, to: number): Promise<void> => {
    if (from === to) return
    const slice = items.slice(from, to)
    if (isList && field.scalar === ScalarType.BYTES) parts.push(joined(field, slice as Uint8Array[]))
    else {
      const piece = create(desc)
      setValue(piece, field, isList ? slice : Object.fromEntries(slice as [string, unknown][]))
      parts.push(toBinary(desc, piece))
    }
    await turn()
  }
  let start = 0
  let weight = 0
  for (const [index, item] of items.entries()) {
    if (isList && field.message && isLarge(item)) {
      await flush(start, index)
      const inner: Uint8Array[] = []
      await encodeInto(inner, field.message, item as Message, turn)
      parts.push(headOf(field, lengthOf(inner)), ...inner)
      start = index + 1
      weight = 0
      continue
    }
    weight += weightOf(item, pieceBytesMax)
    if (weight <= pieceBytesMax) continue
    await flush(start, index + 1)
    start = index + 1
    weight = 0
  }
  await flush(start, items.length)
}

/** Each item with its head, in one array of the right size: the encoder's own array would grow, and be copied, ten times. */
function joined(field: DescField, items: readonly Uint8Array[]): Uint8Array {
  const heads = items.map((item) => headOf(field, item.length))
  const bytes = Buffer.allocUnsafeSlow(lengthOf(heads) + lengthOf(items))
  let length = 0
  for (const [index, item] of items.entries()) {
    const head = heads[index] as Uint8Array
    bytes.set(head, length)
    bytes.set(item, length + head.length)
    length += head.length + item.length
  }
  return bytes
}

async function encodeText(text: string, turn: Turn): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = []
  for (let start = 0; start < text.length; ) {
    let end = start + pieceBytesMax
    // Both halves of a character stay together.
    if ((text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end += 1
    parts.push(Buffer.from(text.slice(start, end)))
    start = end
    await turn()
  }
  return parts
}

function headOf(field: DescField, length: number): Uint8Array {
  return new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(length).finish()
}

function isLarge(value: unknown): boolean {
  return weightOf(value, pieceBytesMax) > pieceBytesMax
}

/** About how many bytes a value becomes; stops counting above `max`. */
function weightOf(value: unknown, max: number): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 8
  if (ArrayBuffer.isView(value)) return value.byteLength
  let weight = 2
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length && weight <= max; index++) weight += weightOf(value[index], max - weight)
    return weight
  }
  for (const key in value) {
    weight += weightOf((value as Record<string, unknown>)[key], max - weight)
    if (weight > max) break
  }
  return weight
}

type Values = Record<string, unknown>

function fieldValue(message: Message, field: DescField): unknown {
  const values = message as unknown as Values
  return field.oneof ? (values[field.oneof.localName] as { value: unknown }).value : values[field.localName]
}

function setValue(message: Message, field: DescField, value: unknown): void {
  const values = message as unknown as Values
  if (field.oneof) values[field.oneof.localName] = { case: field.localName, value }
  else values[field.localName] = value
}
