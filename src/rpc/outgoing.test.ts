import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { create, fromBinary } from '@bufbuild/protobuf'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { FileContent } from '../base/file-content.ts'
import { createTemporaryDirectory } from '../base/temporary-directory.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { PullObjectResponseSchema, PushObjectRequestSchema } from '../gen/flwr/proto/message_pb.ts'
import { createChannel } from './channel.ts'
import type { Method } from './dispatch.ts'
import { encodeInTurns } from './encode-in-turns.ts'
import { startListener } from './listener.ts'
import { pulledObject, withObject } from './object-content.ts'
import { contentOf, followedBy, heldBytesOf, type Outgoing, pieceBytesMax } from './outgoing.ts'

const contents = Buffer.from(Uint8Array.from({ length: 3_000_001 }, (_, index) => index % 251))

/** Serves a file as the content of an object. */
async function serveFile(transport: 'grpc' | 'http') {
  const stack = new AsyncDisposableStack()
  const { path: directory } = stack.use(await createTemporaryDirectory('trellis-outgoing'))
  const path = join(directory, 'object')
  writeFileSync(path, contents)
  const sent: Outgoing[] = []
  const pull: Method = {
    ...{ path: '/flwr.proto.Fleet/PullObject', route: 'fleet/pull-object', streams: false },
    async unary({ receive }) {
      await receive(1000)
      const response = pulledObject({ content: new FileContent(path, contents.length) })
      const message = await encodeInTurns(PullObjectResponseSchema, create(PullObjectResponseSchema, response))
      const parts = followedBy(message, PullObjectResponseSchema, contentOf(response) as never)
      sent.push(parts)
      return parts
    },
    async *stream() {},
  }
  const received: Uint8Array[] = []
  const push: Method = {
    ...{ path: '/flwr.proto.Fleet/PushObject', route: 'fleet/push-object', streams: false },
    async unary({ receive }) {
      const request = fromBinary(PushObjectRequestSchema, await receive(10_000_000))
      assert.equal(request.objectId, 'an id')
      received.push(request.objectContent)
      return []
    },
    async *stream() {},
  }
  const { log } = recordingLogger()
  const listener = stack.use(
    await startListener({ name: 'test', address: '127.0.0.1:0', services: [], rawMethods: [pull, push], log }),
  )
  const { host, port } = listener.address
  const channel = stack.use(
    createChannel({ address: `${host}:${port}`, tls: 'insecure', transport, component: 'test' }),
  )
  return {
    pull: async () => (await channel.call(Fleet.method.pullObject, {})).message,
    async push() {
      const content = new FileContent(path, contents.length)
      try {
        await channel.call(Fleet.method.pushObject, withObject({ objectId: 'an id' }, content))
      } finally {
        await content.close()
      }
    },
    async pushParts(parts: readonly Uint8Array[]) {
      await channel.call(Fleet.method.pushObject, withObject({ objectId: 'an id' }, parts))
    },
    received,
    sent,
    path,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

for (const transport of ['grpc', 'http'] as const) {
  test(`a large content goes from its file to the peer over ${transport}, a piece in memory at a time`, async () => {
    await using served = await serveFile(transport)
    const { objectFound, objectAvailable, objectContent } = await served.pull()
    assert.deepEqual({ objectFound, objectAvailable }, { objectFound: true, objectAvailable: true })
    assert.ok(contents.equals(objectContent))
    const held = heldBytesOf(served.sent[0] ?? [])
    assert.ok(held <= pieceBytesMax + 1000, `${held} bytes are held`)
  })

  test(`a large content of a request goes from its file to the server over ${transport}`, async () => {
    await using served = await serveFile(transport)
    await served.push()
    assert.ok(contents.equals(served.received[0] ?? new Uint8Array()))
    writeFileSync(served.path, contents.subarray(1))
    await assert.rejects(served.push(), /could not be read: .* is shorter than/)
    writeFileSync(served.path, contents)
    await served.push()
    assert.equal(served.received.length, 2)
  })

  test(`a content in parts goes to the server over ${transport} as one content`, async () => {
    await using served = await serveFile(transport)
    const cuts = [0, 20, 21, 6000, 1_000_000, contents.length]
    await served.pushParts(cuts.slice(1).map((end, index) => contents.subarray(cuts[index], end)))
    assert.ok(contents.equals(served.received[0] ?? new Uint8Array()))
  })

  test(`a content whose file is gone makes its call unavailable over ${transport}, and no other`, async () => {
    await using served = await serveFile(transport)
    rmSync(served.path)
    await assert.rejects(served.pull(), { status: 'unavailable' })
    writeFileSync(served.path, contents)
    assert.ok(contents.equals((await served.pull()).objectContent))
  })
}
