import {
  create,
  type DescField,
  type DescMessage,
  type DescService,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf'
import { DomainError } from '../../src/base/errors.ts'
import { callerKind, defineService, type Service } from '../../src/rpc/service.ts'

/** Text that would forge a line or steer a terminal, one of each kind. The word EVIL marks where a line would be forged. */
export const hostileTexts: readonly string[] = [
  'a\nEVIL line',
  'a\r\nEVIL line',
  'a\rEVIL line',
  'a\u2028EVIL line\u2029EVIL line',
  'a\u0085EVIL line\u000bEVIL line\u000cEVIL line',
  'a\u001b[35mcolour',
  'a\u001b[2J\u001b[1;1Hscreen',
  'a\u001b]0;title\u0007b',
  'a\u001b]8;;http://evil.example\u001b\\link\u001b]8;;\u001b\\',
  'a\u009b2Jb\u009d0;title\u009cc',
  'a\u001bPdevice\u001b\\b',
  'a\u001b]52;c;ZXZpbA==',
  'a\u0000\u0007\u0008\u007fb',
  'a\u202edrowkcab\u2066b',
  'a\u200b\u200e\ufeffb',
  'a\tb\u001b',
]

/** The character that begins what terminals obey. */
export const escapeCharacter = '\u001b'

/** A message in which every field is set, and every text is hostile. `fixed` gives the texts that must be as they are. */
export function hostileMessage(desc: DescMessage, fixed: Readonly<Record<string, string>>, pick = picker()): Message {
  const valueFor = (field: DescField, depth: number): unknown => {
    if (field.fieldKind === 'list') {
      const one = () => (field.message ? fill(field.message, depth + 1) : scalar(field.name, field.scalar))
      return depth > 6 ? [] : [one(), one()]
    }
    if (field.fieldKind === 'map') {
      const key = field.mapKey === ScalarType.STRING ? pick() : 1
      return depth > 6
        ? {}
        : { [key]: field.message ? fill(field.message, depth + 1) : scalar(field.name, field.scalar) }
    }
    if (field.fieldKind === 'message') return depth > 6 ? undefined : fill(field.message, depth + 1)
    return field.fieldKind === 'enum' ? 0 : scalar(field.name, field.scalar)
  }
  const scalar = (name: string, type: ScalarType | undefined): unknown => {
    if (type === ScalarType.STRING) return fixed[name] ?? pick()
    if (type === ScalarType.BYTES) return new TextEncoder().encode(pick())
    if (type === ScalarType.BOOL) return true
    if (type === ScalarType.DOUBLE || type === ScalarType.FLOAT) return 1.5
    return type === ScalarType.INT32 || type === ScalarType.UINT32 || type === ScalarType.SINT32 ? 1 : 1n
  }
  const fill = (of: DescMessage, depth: number): Message => {
    const values: Record<string, unknown> = {}
    for (const field of of.fields.filter(({ oneof }) => oneof === undefined || oneof.fields[0] === undefined))
      values[field.localName] = valueFor(field, depth)
    for (const { localName, fields } of of.oneofs) {
      const [first] = fields
      if (first) values[localName] = { case: first.localName, value: valueFor(first, depth) }
    }
    return create(of, values as never)
  }
  return fill(desc, 0)
}

function picker(): () => string {
  let next = 0
  return () => hostileTexts[next++ % hostileTexts.length] as string
}

/** A service whose every method returns hostile texts, or refuses with them. */
export function hostileService(
  desc: DescService,
  options: { readonly refuses: boolean; readonly fixed: Readonly<Record<string, string>> },
): Service {
  const pick = picker()
  const answer = (output: DescMessage): Message => {
    if (options.refuses) throw new DomainError('unsupported', pick())
    return hostileMessage(output, options.fixed, pick)
  }
  const handlers = desc.methods.map((method) => [
    method.localName,
    method.methodKind === 'server_streaming'
      ? async function* () {
          for (let part = 0; part < hostileTexts.length; part++) yield answer(method.output)
        }
      : () => answer(method.output),
  ])
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'content' } as const
  return defineService(desc, {
    access: Object.fromEntries(desc.methods.map(({ localName }) => [localName, row])),
    callers: { anyone: callerKind(async () => undefined) },
    handlers: Object.fromEntries(handlers),
  } as never)
}
