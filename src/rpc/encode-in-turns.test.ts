import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { randomFrom } from '../../test/harness/random.ts'
import { StreamLogsResponseSchema } from '../gen/flwr/proto/control_pb.ts'
import { PullMessagesResponseSchema } from '../gen/flwr/proto/fleet_pb.ts'
import { ContextSchema, PullObjectResponseSchema } from '../gen/flwr/proto/message_pb.ts'
import { bytesInTurns, type Encoded, encodeInTurns } from './encode-in-turns.ts'

const joined = (parts: Encoded): Uint8Array => new Uint8Array(Buffer.concat(parts))

test('a message that is encoded in pieces is the message', async () => {
  const pick = randomFrom(11)
  for (let round = 0; round < 3; round++) {
    const texts = () => Array.from({ length: pick(40_000) }, () => 'ü'.repeat(pick(20)))
    const values = () => Array.from({ length: pick(60_000) }, () => BigInt(pick(1e9)))
    const items = Array.from({ length: pick(6) }, (_, index) => ({
      key: `${index}`,
      value: {
        case: 'configRecord',
        value: {
          items: [
            { key: 'texts', value: { value: { case: 'stringList', value: { vals: texts() } } } },
            { key: 'numbers', value: { value: { case: 'sintList', value: { vals: values() } } } },
            { key: 'text', value: { value: { case: 'string', value: 'x😀'.repeat(pick(300_000)) } } },
            { key: 'bytes', value: { value: { case: 'bytes', value: new Uint8Array(pick(900_000)).fill(1) } } },
          ],
        },
      },
    }))
    const message = create(ContextSchema, {
      ...{ runId: BigInt(pick(1e6)), seriesId: 3n },
      nodeConfig: Object.fromEntries(Array.from({ length: pick(20_000) }, (_, index) => [`k${index}`, {}])),
      state: { items } as never,
    })
    const parts = await encodeInTurns(ContextSchema, message)
    const bytes = await bytesInTurns(ContextSchema, message)
    assert.ok(isDeepStrictEqual(fromBinary(ContextSchema, joined(parts)), message))
    assert.ok(joined(parts).every((byte, at) => byte === bytes[at]))
  }
})

test('the objects of a response are joined in pieces of bounded size', async () => {
  const pick = randomFrom(12)
  const objects = Array.from({ length: 400 }, (_, index) => new Uint8Array(pick(8192)).fill(index))
  const response = create(PullMessagesResponseSchema, { objects: [new Uint8Array(), ...objects] })
  const parts = await encodeInTurns(PullMessagesResponseSchema, response)
  assert.ok(isDeepStrictEqual(fromBinary(PullMessagesResponseSchema, joined(parts)), response))
  assert.deepEqual(Buffer.from(joined(parts)), Buffer.from(toBinary(PullMessagesResponseSchema, response)))
  assert.ok(parts.length > 3)
  for (const part of parts)
    assert.ok(part.buffer.byteLength < 300 * 1024, `a piece holds ${part.buffer.byteLength} bytes`)
})

test('a large object is not copied, and a long text keeps its characters', async () => {
  const objectContent = new Uint8Array(1024 * 1024)
  const object = create(PullObjectResponseSchema, { objectFound: true, objectAvailable: true, objectContent })
  assert.ok((await encodeInTurns(PullObjectResponseSchema, object)).includes(objectContent))
  const logs = create(StreamLogsResponseSchema, { logOutput: `.${'😀'.repeat(400_000)}`, latestTimestamp: 1.5 })
  const parts = await encodeInTurns(StreamLogsResponseSchema, logs)
  assert.ok(isDeepStrictEqual(fromBinary(StreamLogsResponseSchema, joined(parts)), logs))
})

test('a small message is encoded as one part', async () => {
  const object = create(PullObjectResponseSchema, { objectFound: true, objectContent: Uint8Array.of(1) })
  const encoded = await encodeInTurns(PullObjectResponseSchema, object)
  assert.deepEqual(encoded.map(Buffer.from), [Buffer.from(toBinary(PullObjectResponseSchema, object))])
})
