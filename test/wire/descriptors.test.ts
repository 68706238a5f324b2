import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { DescFile } from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
} from '@bufbuild/protobuf/wkt'

/** Our wire beside that of the installed packages: a name, number, type or label that differs is a message misread. */
interface Wire {
  readonly messages: Record<string, Record<string, Field>>
  readonly enums: Record<string, Record<string, number>>
  readonly methods: Record<string, { input: string; output: string; streams: boolean }>
}

interface Field {
  readonly number: number
  readonly type: string
  readonly of: string
  readonly repeated: boolean
  readonly optional: boolean
  readonly oneof: string
}

const environments = {
  '1.29': process.env.TRELLIS_PYTHON_129,
  '1.41': process.env.TRELLIS_PYTHON_141,
  '1.42': process.env.TRELLIS_PYTHON_142,
  '1.43': process.env.TRELLIS_PYTHON_143,
}
/** Fields of ours alone; Flower's programs skip what they do not know. */
const ownNumbersFrom = 1001
/** Methods of ours alone: no program of Flower calls them. */
const ownMethods = [
  'flwr.proto.Control.ShowSecurity',
  'flwr.proto.Control.ShowCaller',
  'flwr.proto.Control.ShowRunNodes',
  'flwr.proto.Control.SetNodeAdmission',
  'flwr.proto.Control.StreamEvents',
  'flwr.proto.Runtime.SaveCheckpoint',
  'flwr.proto.Runtime.PullCheckpoint',
]
/** Names are not on the wire: if releases use one name for two things, or two names for one, ours differ from theirs. */
const renamedMessages: Record<string, string> = {
  'flwr.proto.PushAppIoMessagesRequest': 'flwr.proto.PushAppMessagesRequest',
  'flwr.proto.PullAppIoMessagesRequest': 'flwr.proto.PullAppMessagesRequest',
}
const renamedFields: Record<string, string> = { 'flwr.proto.Run.run_type': 'primary_task_type' }
/** Differences on purpose, each with the reason why no byte is misread. */
const exceptions: Record<string, string> = {
  'flwr.proto.GetNodesResponse.nodes': 'a NodeInfo begins as the Node of 1.29 does, which skips the rest',
  'flwr.proto.StreamRunEventsResponse.event': 'no program of 1.29 asks for events',
  'flwr.proto.StreamRunEventsResponse.data': 'no program of 1.29 asks for events',
}
/** Releases since 1.41 have this service as HTTP paths alone. */
const isPathOnly = (method: string): boolean => method.startsWith('flwr.proto.Runtime.')

for (const [release, environment] of Object.entries(environments)) {
  const skip = environment ? false : `there is no Python environment with Flower ${release}`

  test(`every RPC of Flower ${release} that we serve has its messages, field by field`, { skip }, async () => {
    const theirs = await wireOf(environment as string)
    const ours = await ourWire()
    const differences: string[] = []
    const expect = (what: string, our: unknown, their: unknown): void => {
      if (JSON.stringify(our) !== JSON.stringify(their))
        differences.push(`${what}: ours ${JSON.stringify(our)}, theirs ${JSON.stringify(their)}`)
    }
    const seen = new Set<string>()
    const compare = (name: string): void => {
      if (seen.has(name)) return
      seen.add(name)
      const our = ours.messages[name]
      const their = theirs.messages[renamedMessages[name] ?? name]
      if (!our || !their) return void differences.push(`message ${name} is missing`)
      for (const [field, description] of Object.entries(their)) {
        const id = `${name}.${field}`
        const own = our[renamedFields[id] ?? field]
        if (!(id in exceptions)) expect(id, own, description)
        if (description.type === 'message' && own) compare(own.of)
        if (description.type === 'enum')
          expect(description.of, ours.enums[description.of], theirs.enums[description.of])
      }
    }
    const served = Object.keys(ours.methods).filter(
      (method) =>
        method in theirs.methods || (release !== '1.29' && isPathOnly(method) && !ownMethods.includes(method)),
    )
    assert.ok(served.length > 40, `${served.length} methods`)
    for (const method of served) {
      const our = ours.methods[method] as Wire['methods'][string]
      const their = theirs.methods[method]
      if (their) expect(method, { ...our, input: renamedMessages[our.input] ?? our.input }, their)
      compare(our.input)
      compare(our.output)
    }
    assert.deepEqual(differences, [])
    assert.ok(seen.size > 80, `${seen.size} messages`)
  })
}

const installed = Object.entries(environments).flatMap(([release, environment]) =>
  environment ? [{ release, environment }] : [],
)
const skip = installed.length > 1 ? false : 'there are no two Python environments with Flower to compare'

test('the changes between installed releases of what we serve are printed', { skip }, async (context) => {
  const ours = await ourWire()
  const known = new Set(Object.keys(ours.messages).map((name) => renamedMessages[name] ?? name))
  const releases = await Promise.all(installed.map(async (one) => ({ ...one, wire: await wireOf(one.environment) })))
  for (const [index, { release, wire }] of releases.entries()) {
    const before = releases[index - 1]
    if (!before) continue
    const changes = [...known].flatMap((name) => changesOf(name, before.wire.messages[name], wire.messages[name]))
    context.diagnostic(`Flower ${before.release} to ${release}: ${changes.join('; ') || 'no change'}`)
  }
  const [nightly, stable] = ['1.43', '1.42'].map((release) => releases.find((one) => one.release === release)?.wire)
  const name = 'flwr.proto.PullAppMessagesRequest'
  if (nightly && stable)
    assert.deepEqual(changesOf(name, stable.messages[name], nightly.messages[name]), [
      `${name}.message_ids is gone`,
      `${name}.reply_to_message_ids is new`,
    ])
})

/** What differs in a message between two releases; nothing if one of them does not have it. */
function changesOf(
  name: string,
  before: Wire['messages'][string] = {},
  after: Wire['messages'][string] = {},
): string[] {
  if (Object.keys(before).length === 0 || Object.keys(after).length === 0) return []
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((field) => {
    const [old, now] = [before[field], after[field]]
    if (!now) return [`${name}.${field} is gone`]
    if (!old) return [`${name}.${field} is new`]
    return JSON.stringify(old) === JSON.stringify(now) ? [] : [`${name}.${field} has changed`]
  })
}

/** Fields that no release before 1.43 has; its nightly build may be gone from the package index. */
const fieldsSince143 = ['flwr.proto.PullAppMessagesRequest.reply_to_message_ids']
const withoutBothGenerations =
  environments['1.29'] && environments['1.41'] ? false : 'there are no Python environments with Flower 1.29 and 1.41'

test('every field of ours below 1001, and every RPC but our own, is known to a release', {
  skip: withoutBothGenerations,
}, async () => {
  const ours = await ourWire()
  const releases = await Promise.all(installed.map(({ environment }) => wireOf(environment)))
  // The entries of a map have the numbers that protobuf gives them.
  const written = Object.entries(ours.messages).filter(([name]) => !/\.(?:Tags|AppConfig)Entry$/.test(name))
  const unknown = written.flatMap(([name, fields]) =>
    Object.entries(fields)
      .filter(([, { number }]) => number < ownNumbersFrom)
      .filter(([field]) => !releases.some(({ messages }) => messages[renamedMessages[name] ?? name]?.[field]))
      .map(([field]) => `${name}.${field}`)
      .filter((id) => environments['1.43'] || !fieldsSince143.includes(id)),
  )
  assert.deepEqual(unknown, [])
  assert.deepEqual(
    Object.keys(ours.methods).filter(
      (method) => !isPathOnly(method) && !releases.some(({ methods }) => method in methods),
    ),
    ownMethods.filter((method) => !isPathOnly(method)),
  )
})

const wires = new Map<string, Promise<Wire>>()

/** Reads the descriptors of an environment, once. */
function wireOf(environment: string): Promise<Wire> {
  const known = wires.get(environment) ?? readWire(environment)
  wires.set(environment, known)
  return known
}

async function readWire(environment: string): Promise<Wire> {
  const script = join(import.meta.dirname, 'python', 'descriptors.py')
  const { stdout } = await promisify(execFile)(join(environment, 'bin', 'python'), [script], {
    maxBuffer: 1 << 24,
    timeout: 240_000,
  })
  return JSON.parse(stdout)
}

/** What `proto/` says, as the generated code carries it. */
async function ourWire(): Promise<Wire> {
  const wire: Wire = { messages: {}, enums: {}, methods: {} }
  const folder = join(import.meta.dirname, '..', '..', 'src', 'gen', 'flwr', 'proto')
  for (const name of readdirSync(folder)) {
    const exported: Record<string, unknown> = await import(join(folder, name))
    const file = Object.values(exported).find(isFile)
    if (!file) throw new Error(`${name} exports no file descriptor`)
    const prefix = file.proto.package
    for (const message of file.proto.messageType) addMessage(wire, prefix, message)
    for (const declared of file.proto.enumType) addEnum(wire, prefix, declared)
    for (const service of file.proto.service)
      for (const { name: method, inputType, outputType, serverStreaming } of service.method)
        wire.methods[`${prefix}.${service.name}.${method}`] = {
          input: inputType.slice(1),
          output: outputType.slice(1),
          streams: serverStreaming,
        }
  }
  return wire
}

function isFile(value: unknown): value is DescFile {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'file'
}

function addMessage(wire: Wire, prefix: string, message: DescriptorProto): void {
  const name = `${prefix}.${message.name}`
  wire.messages[name] = Object.fromEntries(message.field.map((field) => [field.name, describe(message, field)]))
  for (const nested of message.nestedType) addMessage(wire, name, nested)
  for (const nested of message.enumType) addEnum(wire, name, nested)
}

function addEnum(wire: Wire, prefix: string, declared: EnumDescriptorProto): void {
  wire.enums[`${prefix}.${declared.name}`] = Object.fromEntries(
    declared.value.map(({ name, number }) => [name, number]),
  )
}

function describe(message: DescriptorProto, field: FieldDescriptorProto): Field {
  const isInOneof = field.oneofIndex !== undefined && Object.hasOwn(field, 'oneofIndex') && !field.proto3Optional
  return {
    number: field.number,
    type: FieldDescriptorProto_Type[field.type].toLowerCase(),
    of: field.typeName.slice(1),
    repeated: field.label === FieldDescriptorProto_Label.REPEATED,
    optional: field.proto3Optional,
    oneof: isInOneof ? (message.oneofDecl[field.oneofIndex]?.name ?? '') : '',
  }
}
