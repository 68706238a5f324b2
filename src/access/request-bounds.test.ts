import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type DescService, fromBinary, toBinary } from '@bufbuild/protobuf'
import { randomFrom } from '../../test/harness/random.ts'
import { delimited, none, repeat, worstBodies } from '../../test/harness/worst-bodies.ts'
import { type BodyClass, limits } from '../base/limits.ts'
import { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { Fleet, PushMessagesRequestSchema } from '../gen/flwr/proto/fleet_pb.ts'
import { ContextSchema, MessageSchema } from '../gen/flwr/proto/message_pb.ts'
import { PushAppMessagesRequestSchema, Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import { scanBody } from '../rpc/body-scan.ts'
import { decodeInTurns } from '../rpc/decode-in-turns.ts'
import { clientAppIoAccess, controlAccess, fleetAccess, runtimeAccess, serverAppIoAccess } from './table.ts'

const services: readonly [DescService, Readonly<Record<string, { body: BodyClass }>>][] = [
  [Fleet, fleetAccess],
  [Control, controlAccess],
  [Runtime, runtimeAccess],
  [ServerAppIo, serverAppIoAccess],
  [ClientAppIo, clientAppIoAccess],
]

test('no body of any method of any service becomes much more than it is: it is refused before it is decoded, or decoded into little', (t) => {
  let bodies = 0
  const seen = new Set<string>()
  let slowestMs = 0
  for (const [service, access] of services) {
    for (const method of service.methods) {
      const bounds = limits.bodies[(access[method.localName] as { body: BodyClass }).body]
      // From here on a body of nothing but fields is beyond the bounds of every class.
      const bytes = Math.min(bounds.bytesMax, 1024 * 1024, 8 * bounds.elementsMax)
      // Methods share requests.
      const key = `${method.input.typeName} ${bounds.bytesMax} ${bounds.elementsMax}`
      if (seen.has(key)) continue
      seen.add(key)
      for (const [what, make] of worstBodies(method.input, bytes)) {
        const body = make()
        const before = process.cpuUsage()
        const refusal = catching(() => scanBody(method.input, body, bounds))
        const { user, system } = process.cpuUsage(before)
        slowestMs = Math.max(slowestMs, (user + system) / 1000)
        // What passes is made into little: doubles that came as doubles, or nothing.
        if (refusal === undefined) assert.ok(thingsIn(fromBinary(method.input, body)) <= body.length / 8 + 100, what)
        else assert.match(String(refusal), /message-too-large|invalid-payload/, `${method.name}: ${what}`)
        const begin = body.subarray(0, body.length / 8)
        const early = catching(() => scanBody(method.input, begin, bounds, body.length))
        if (early !== undefined) assert.equal(early, refusal, `the begin of ${method.name}: ${what}`)
        bodies += 1
      }
    }
  }
  t.diagnostic(`${bodies} bodies, the slowest was refused after ${slowestMs.toFixed(1)} ms of processor time`)
  assert.ok(bodies > 300)
})

test('what the decoder would misread is refused', () => {
  const bounds = limits.bodies.small
  const desc = Fleet.method.getRun.input
  for (const [what, hex] of [
    ['a message as a number', '0801'],
    ['a number as a message', '1200'],
    ['a message that is longer than the body', '0a7f08'],
    ['a field without a number', '0000'],
    ['a number without an end', '10ffffffffffffffffffff01'],
    ['a number that is cut short', '1080'],
    ['the end of a group that did not begin', 'fc7f'],
    ['the end of another group', 'fb7fec7f'],
  ] as const)
    assert.throws(() => scanBody(desc, Buffer.from(hex, 'hex'), bounds), { code: 'invalid-payload' }, what)
  const nonsense = Buffer.alloc(100, 0xa5)
  assert.throws(() => scanBody(desc, nonsense, bounds, 1000), { code: 'invalid-payload' }, 'the begin of nonsense')
  scanBody(desc, Buffer.from('1080', 'hex'), bounds, 1000)
  const huge = delimited(3, new Uint8Array(limits.stringBytesMax + 1).fill(97))
  assert.throws(() => scanBody(Fleet.method.pullObject.input, huge, limits.bodies.content), {
    code: 'message-too-large',
    message: /a text of more than 1048576 bytes: send less in one call/,
  })
})

test('the largest messages of an honest program pass: a tree of 20,000 objects, 10,000 messages, lists of numbers', async (t) => {
  const id = delimited(1, Buffer.from('a'.repeat(64)))
  const leaf = delimited(2, id)
  const treeOf = (nodes: number): Uint8Array => Buffer.concat([id, repeat(leaf, leaf.length * (nodes - 1))])
  const reply = Buffer.concat([delimited(2, none), delimited(3, treeOf(limits.objectTreeNodesMax))])
  scanBody(PushMessagesRequestSchema, reply, limits.bodies.tree)
  const decoded = await decodeInTurns(PushMessagesRequestSchema, reply)
  assert.equal(decoded.messageObjectTrees[0]?.children.length, limits.objectTreeNodesMax - 1)
  const tooMany = Buffer.concat([delimited(2, none), delimited(3, treeOf(limits.objectTreeNodesMax + 1000))])
  assert.throws(() => scanBody(PushMessagesRequestSchema, tooMany, limits.bodies.tree), { code: 'message-too-large' })

  const metadata = { messageId: 'a'.repeat(64), messageType: 'train', ttl: 3600, createdAt: 1.5, srcNodeId: 1n }
  const one = toBinary(MessageSchema, create(MessageSchema, { metadata }))
  const unit = Buffer.concat([delimited(2, one), delimited(3, treeOf(50))])
  const messages = repeat(unit, unit.length * limits.messagesPerPushMax)
  const before = process.cpuUsage()
  scanBody(PushAppMessagesRequestSchema, messages, limits.bodies.messages)
  const { user, system } = process.cpuUsage(before)
  t.diagnostic(`${messages.length} bytes scanned in ${((user + system) / 1000).toFixed(1)} ms of processor time`)

  // A model of one array with its configuration, for ten thousand SuperNodes.
  const content = toBinary(
    MessageSchema,
    create(MessageSchema, { metadata: { ...metadata, runId: 2n ** 63n, dstNodeId: 2n ** 63n }, content: {} }),
  )
  const small = Buffer.concat([delimited(2, content), delimited(3, treeOf(6))])
  const many = repeat(small, small.length * limits.messagesPerPushMax)
  scanBody(PushAppMessagesRequestSchema, many, limits.bodies.messages)

  const numbers = Array.from({ length: 100_000 }, (_, index) => BigInt(index % 10))
  const value = { value: { case: 'sintList', value: { vals: numbers } } } as const
  const context = create(ContextSchema, {
    state: {
      items: [{ key: 'state', value: { case: 'metricRecord', value: { items: [{ key: 'x', value }] } } }],
    } as never,
  })
  scanBody(ContextSchema, toBinary(ContextSchema, context), limits.bodies.context)
})

test('a message that is decoded in pieces is the message', async () => {
  const pick = randomFrom(7)
  for (let round = 0; round < 8; round++) {
    const texts = () => Array.from({ length: pick(2000) }, () => 'x'.repeat(pick(20)))
    const values = () => Array.from({ length: pick(20_000) }, () => BigInt(pick(1e9)))
    const doubles = () => Array.from({ length: pick(20_000) }, () => pick(1e9) / 7)
    const items = Array.from({ length: pick(6) }, (_, index) => ({
      key: `${index}`,
      value: {
        case: 'configRecord',
        value: {
          items: [
            { key: 'texts', value: { value: { case: 'stringList', value: { vals: texts() } } } },
            { key: 'numbers', value: { value: { case: 'sintList', value: { vals: values() } } } },
            { key: 'doubles', value: { value: { case: 'doubleList', value: { vals: doubles() } } } },
            { key: 'bytes', value: { value: { case: 'bytes', value: new Uint8Array(pick(50_000)) } } },
          ],
        },
      },
    }))
    const message = create(ContextSchema, {
      ...{ runId: BigInt(pick(1e6)), seriesId: 3n },
      nodeConfig: Object.fromEntries(Array.from({ length: pick(2000) }, (_, index) => [`k${index}`, {}])),
      state: { items } as never,
    })
    const one = toBinary(ContextSchema, message)
    // What follows is merged into what is there.
    const bytes = Buffer.concat([one, Uint8Array.of(0x08, 5), delimited(2047, new Uint8Array(20_000)), one])
    assert.deepEqual(await decodeInTurns(ContextSchema, bytes), fromBinary(ContextSchema, bytes))
  }
})

/** Objects, and items of lists, below a value. */
function thingsIn(value: unknown): number {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0
  let things = 0
  for (const inner of Object.values(value)) things += 1 + thingsIn(inner)
  return things
}

function catching(work: () => void): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}
