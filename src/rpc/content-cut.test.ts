import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { randomFrom } from '../../test/harness/random.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { PushObjectRequestSchema } from '../gen/flwr/proto/message_pb.ts'
import { ContentCut, type ContentPlace } from './content-cut.ts'

const directory = mkdtempSync(join(tmpdir(), 'trellis-cut-'))
after(() => rmSync(directory, { recursive: true, force: true }))
let files = 0

const contentField = PushObjectRequestSchema.field.objectContent.number
const pick = randomFrom(7)
const large = Buffer.from(Uint8Array.from({ length: limits.objectInMemoryBytesMax + 700_001 }, (_, at) => at % 253))

function cutInto(place: () => Promise<ContentPlace>): { readonly cut: ContentCut; readonly before: string[] } {
  const before: string[] = []
  const cut = new ContentCut(contentField, (fields) => {
    before.push(fromBinary(PushObjectRequestSchema, fields).objectId)
    return place()
  })
  return { cut, before }
}

const newFile = () => IncomingFile.create(join(directory, String(++files)))
const first = (parts: readonly Uint8Array[]) =>
  toBinary(
    PushObjectRequestSchema,
    create(PushObjectRequestSchema, { runId: 7n, objectId: 'an id', objectContent: parts[0] ?? new Uint8Array() }),
  )
const session = new BinaryWriter().tag(5, WireType.LengthDelimited).string('a session').finish()
const content = (bytes: Uint8Array) =>
  new BinaryWriter().tag(contentField, WireType.LengthDelimited).bytes(bytes).finish()

async function arrive(cut: ContentCut, message: Uint8Array, chunkBytes: () => number): Promise<void> {
  cut.announce(message.length)
  for (let at = 0; at < message.length; ) {
    const end = Math.min(message.length, at + chunkBytes())
    await cut.add(Buffer.from(message.subarray(at, end)))
    at = end
  }
  assert.equal(cut.length, message.length)
}

test('a large content goes to a file however its message is cut into chunks, and the rest stays small', async () => {
  const messages = {
    'as Flower sends it': Buffer.concat([first([large]), session]),
    'as we send it': Buffer.concat([first([]), session, content(large)]),
  }
  for (const [name, message] of Object.entries(messages)) {
    for (const chunkBytes of [() => 1 + pick(60_000), () => message.length, () => 5 + pick(20) * pick(20_000)]) {
      const { cut, before } = cutInto(newFile)
      await arrive(cut, message, chunkBytes)
      const rest = fromBinary(PushObjectRequestSchema, cut.bytes())
      assert.deepEqual(
        { id: rest.objectId, run: rest.runId, session: rest.sessionId },
        { id: 'an id', run: 7n, session: 'a session' },
        name,
      )
      assert.equal(rest.objectContent.length, 0)
      assert.ok(cut.bytes().length < 1000)
      assert.deepEqual(before, ['an id'])
      assert.equal(cut.file?.length, large.length)
      assert.equal(cut.file?.sha256, hash('sha256', large, 'hex'))
      assert.ok(readFileSync(join(directory, String(files))).equals(large))
      await cut[Symbol.asyncDispose]()
    }
  }
  assert.deepEqual(readdirSync(directory), [], 'files that are not moved to a place are deleted')
})

test('the first bytes of a message may come one by one', async () => {
  const { cut } = cutInto(newFile)
  const message = Buffer.concat([first([large]), session])
  let chunks = 0
  await arrive(cut, message, () => (++chunks < 40 ? 1 : 100_000))
  assert.equal(cut.file?.sha256, hash('sha256', large, 'hex'))
  await cut[Symbol.asyncDispose]()
})

test('small contents, and those that their taker keeps, stay in the message', async () => {
  for (const [bytes, asked] of [
    [large.subarray(0, limits.objectInMemoryBytesMax), 0],
    [large, 1],
  ] as const) {
    const { cut, before } = cutInto(async () => 'keep')
    const message = Buffer.concat([content(bytes), first([]), session])
    await arrive(cut, message, () => 1 + pick(100_000))
    assert.ok(message.equals(cut.bytes()))
    assert.equal(cut.file, undefined)
    assert.equal(before.length, asked)
  }
})

test('a content that its sender may not send is thrown away', async () => {
  const { cut } = cutInto(async () => 'discard')
  await arrive(cut, Buffer.concat([first([large]), session]), () => 50_000)
  const { objectContent, sessionId } = fromBinary(PushObjectRequestSchema, cut.bytes())
  assert.deepEqual([objectContent.length, sessionId], [0, 'a session'])
  assert.equal(cut.file, undefined)
  assert.deepEqual(readdirSync(directory), [])
})

test('a message with two contents, or one that ends within its content, is refused and leaves no file', async () => {
  const twice = cutInto(newFile).cut
  await assert.rejects(
    arrive(twice, Buffer.concat([first([large]), content(large)]), () => 70_000),
    /more than one content/,
  )
  const short = cutInto(newFile).cut
  await arrive(short, first([large]).subarray(0, large.length - 3), () => 70_000)
  assert.throws(() => short.bytes(), { code: 'invalid-payload' })
  for (const cut of [twice, short]) await cut[Symbol.asyncDispose]()
  assert.deepEqual(readdirSync(directory), [])
})

test('a message of many fields is kept for the scan of the body: looking at each of them would cost time', async () => {
  const { cut, before } = cutInto(newFile)
  const fields = Buffer.alloc(20_000, content(new Uint8Array()))
  const message = Buffer.concat([fields, first([large])])
  await arrive(cut, message, () => 30_000)
  assert.deepEqual([cut.file, before], [undefined, []])
  assert.ok(message.equals(cut.bytes()))
})

test('a file that is created while its message breaks off is deleted', async () => {
  const place = Promise.withResolvers<ContentPlace>()
  const { cut } = cutInto(() => place.promise)
  const arriving = arrive(cut, first([large]), () => large.length)
  const deleted = cut[Symbol.asyncDispose]()
  place.resolve(await newFile())
  await deleted
  await arriving.catch(() => {})
  assert.deepEqual(readdirSync(directory), [])
})

test('bytes that are no message are kept for the scan of the body, which rejects them', async () => {
  for (let round = 0; round < 200; round++) {
    const { cut } = cutInto(newFile)
    const garbage = Buffer.from(Array.from({ length: pick(300) }, () => pick(256)))
    await arrive(cut, garbage, () => 1 + pick(40))
    if (cut.file) assert.throws(() => cut.bytes(), { code: 'invalid-payload' })
    else assert.ok(garbage.equals(cut.bytes()))
    await cut[Symbol.asyncDispose]()
  }
  assert.deepEqual(readdirSync(directory), [])
})
