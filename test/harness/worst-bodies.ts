import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'

/** The worst bodies that a peer could make for a message: as many objects as possible for its bytes. */

/** `number` with bytes: a message, a text, a packed list, a map entry. */
export function delimited(number: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([varint((number << 3) | 2), varint(content.length), content])
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest])
    bytes.push((rest % 128) | 128)
  }
}

export const none = new Uint8Array()
export const repeat = (unit: Uint8Array, bytes: number): Uint8Array =>
  Buffer.alloc(Math.floor(bytes / unit.length) * unit.length, unit)

const isText = (scalar: ScalarType): boolean => scalar === ScalarType.STRING || scalar === ScalarType.BYTES

/** Every way to a field of the message and of those inside it, each message once. */
function* waysTo(desc: DescMessage, seen = new Set<DescMessage>()): Generator<readonly DescField[]> {
  if (seen.has(desc)) return
  seen.add(desc)
  for (const field of desc.fields) {
    yield [field]
    if (field.message && field.fieldKind !== 'map')
      for (const rest of waysTo(field.message, seen)) yield [field, ...rest]
  }
}

/** The worst bodies of about that size, each of which is made when it is wanted. */
export function* worstBodies(
  desc: DescMessage,
  bytes: number,
): Generator<readonly [what: string, make: () => Uint8Array]> {
  for (const way of waysTo(desc)) {
    const last = way.at(-1) as DescField
    const name = way.map((field) => field.name).join('.')
    const wrap = (inner: Uint8Array): Uint8Array =>
      way.slice(0, -1).reduceRight((content, field) => delimited(field.number, content), inner)
    yield [`${name}, empty`, () => wrap(repeat(delimited(last.number, none), bytes))]
    if (last.fieldKind === 'list' && last.scalar !== undefined && !isText(last.scalar))
      yield [`${name}, packed`, () => wrap(delimited(last.number, new Uint8Array(bytes).fill(1)))]
    if (last.message?.fields.some(({ message }) => message === last.message)) {
      const inside = last.message.fields.find(({ message }) => message === last.message) as DescField
      yield [`${name}, nested`, () => wrap(delimited(last.number, nestedIn(inside.number)))]
    }
  }
  yield ['unknown numbers', () => repeat(Uint8Array.of(0xf8, 0x7f, 1), bytes)]
  yield ['unknown messages', () => repeat(delimited(2047, none), bytes)]
  yield ['groups beside each other', () => repeat(Uint8Array.of(0xfb, 0x7f, 0xfc, 0x7f), bytes)]
  yield ['groups within each other', () => repeat(Uint8Array.of(0xfb, 0x7f), bytes)]
}

function nestedIn(number: number): Uint8Array {
  let nested: Uint8Array = none
  for (let depth = 0; depth < 200; depth++) nested = delimited(number, nested)
  return nested
}
