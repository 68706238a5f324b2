import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
  mergeFromBinary,
  ScalarType,
} from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { takeTurns } from '../base/turns.ts'

/**
 * Decodes a scanned body without holding up other work: a large message is cut at the borders of its fields, and the pieces
 * are decoded one after the other into the same message. Small bodies are decoded at once.
 */
export async function decodeInTurns<D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  turn: () => Promise<void> | undefined = takeTurns(),
): Promise<MessageShape<D>> {
  const message = create(desc)
  await decodeInto(desc, message, bytes, turn)
  return message
}

/** What is decoded in one go. 16 KiB hold at most 8,192 messages, some milliseconds of work. */
const pieceBytesMax = 16 * 1024
/** After so many fields other work may go on, however few bytes they have. */
const fieldsPerTurn = 512
/** Of a list of numbers: numbers of 64 bits take about 0.1 ms a kilobyte. */
const packedBytesMax = 16 * 1024

async function decodeInto(
  desc: DescMessage,
  message: Message,
  bytes: Uint8Array,
  turn: () => Promise<void> | undefined,
): Promise<void> {
  if (bytes.length <= pieceBytesMax) {
    mergeFromBinary(desc, message, bytes)
    return
  }
  const reader = new BinaryReader(bytes)
  let pieceStart = 0
  const flush = async (end: number): Promise<void> => {
    if (end > pieceStart) mergeFromBinary(desc, message, bytes.subarray(pieceStart, end))
    pieceStart = end
    await turn()
  }
  for (let fields = 0; reader.pos < bytes.length; fields++) {
    if (fields % fieldsPerTurn === 0) await turn()
    const fieldStart = reader.pos
    const [number, wireType] = reader.tag()
    const field = wireType === WireType.LengthDelimited ? desc.fields.find((one) => one.number === number) : undefined
    const contents = reader.skip(wireType, number)
    if (field?.message && field.fieldKind !== 'map' && contents.length > pieceBytesMax) {
      await flush(fieldStart)
      const inner = new BinaryReader(contents).bytes()
      await decodeInto(field.message, childOf(message, field), inner, turn)
      pieceStart = reader.pos
    } else if (field && isPackedList(field) && contents.length > pieceBytesMax) {
      await flush(fieldStart)
      await decodePacked(desc, message, field, new BinaryReader(contents).bytes(), turn)
      pieceStart = reader.pos
    } else if (reader.pos - pieceStart > pieceBytesMax) await flush(reader.pos)
  }
  await flush(bytes.length)
}

/** A list of numbers in one field. */
function isPackedList(field: DescField): boolean {
  if (field.fieldKind !== 'list' || field.message) return false
  return field.enum !== undefined || (field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES)
}

/** Cuts the list between numbers: a list that comes in several pieces is read as one. */
async function decodePacked(
  desc: DescMessage,
  message: Message,
  field: DescField,
  numbers: Uint8Array,
  turn: () => Promise<void> | undefined,
): Promise<void> {
  for (let start = 0; start < numbers.length; ) {
    let end = Math.min(start + packedBytesMax, numbers.length)
    // Lists of fixed width are cut at a multiple of 8; in others the last byte of a number is below 0x80.
    if (isVarint(field)) while (end < numbers.length && (numbers[end - 1] as number) >= 0x80) end += 1
    const piece = new BinaryWriter().tag(field.number, WireType.LengthDelimited).bytes(numbers.subarray(start, end))
    mergeFromBinary(desc, message, piece.finish())
    start = end
    await turn()
  }
}

function isVarint(field: DescField): boolean {
  return !fixedWidth.has(field.scalar as ScalarType)
}

const fixedWidth: ReadonlySet<ScalarType> = new Set([
  ...[ScalarType.DOUBLE, ScalarType.FIXED64, ScalarType.SFIXED64],
  ...[ScalarType.FLOAT, ScalarType.FIXED32, ScalarType.SFIXED32],
])

/** The message that a field's bytes are merged into: a new item of a list, else the one that is there or a new one. */
function childOf(parent: Message, field: DescField): Message {
  const desc = field.message as DescMessage
  const values = parent as unknown as Record<string, unknown>
  if (field.fieldKind === 'list') {
    const child = create(desc)
    ;(values[field.localName] as Message[]).push(child)
    return child
  }
  if (field.oneof) {
    const held = values[field.oneof.localName] as { case?: string; value?: unknown }
    const child = held.case === field.localName ? (held.value as Message) : create(desc)
    values[field.oneof.localName] = { case: field.localName, value: child }
    return child
  }
  const child = (values[field.localName] as Message | undefined) ?? create(desc)
  values[field.localName] = child
  return child
}
