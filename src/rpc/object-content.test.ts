import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { DomainError } from '../base/errors.ts'
import { FileContent } from '../base/file-content.ts'
import { IncomingFile } from '../base/incoming-file.ts'
import { limits } from '../base/limits.ts'
import { silentLogger } from '../base/log.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { formatAddress } from './address.ts'
import { createChannel } from './channel.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import { startListener } from './listener.ts'
import { pulledObject, receivedObject, withObject } from './object-content.ts'
import { callerKind, defineService } from './service.ts'

const large = Buffer.from(Uint8Array.from({ length: 2_500_000 }, (_, at) => at % 241))

/** A server that takes objects into files; a caller owns the object `own`, and another's is refused. */
async function setUp(transport: 'grpc' | 'http', bounds: Partial<ConnectionBounds> = {}) {
  const stack = new AsyncDisposableStack()
  const sent = stack.use(temporaryDirectory()).file('object')
  const incoming = stack.use(temporaryDirectory()).path
  writeFileSync(sent, large)
  let opened = 0
  let asked = 0
  let connections = 0
  const began = Promise.withResolvers<void>()
  const deleted: Promise<void>[] = []
  const openFile = async (): Promise<IncomingFile> => {
    const file = await IncomingFile.create(`${incoming}/${++opened}`)
    const gone = Promise.withResolvers<void>()
    const dispose = file[Symbol.asyncDispose].bind(file)
    file[Symbol.asyncDispose] = () => dispose().then(gone.resolve)
    deleted.push(gone.promise)
    began.resolve()
    return file
  }
  const received: { readonly content: Uint8Array | IncomingFile; readonly bytesInMemory: number }[] = []
  const row = (of: string) => ({ caller: 'anyone', of, changes: false, body: 'content' }) as const
  const names = Object.keys(Fleet.method)
  const unused = () => {
    throw new DomainError('unsupported')
  }
  const handlers = {
    ...Object.fromEntries(names.map((name) => [name, unused])),
    pushObject(request: never, call: { readonly requestBytes: Uint8Array }, _caller: unknown, isOwn: boolean) {
      if (isOwn) received.push({ content: receivedObject(request), bytesInMemory: call.requestBytes.length })
      return { stored: isOwn }
    },
    pullObject: () => pulledObject({ content: new FileContent(sent, large.length) }),
  }
  const service = defineService<typeof Fleet, { anyone: undefined }>(Fleet, {
    access: Object.fromEntries(names.map((name) => [name, row(name === 'pushObject' ? 'object' : 'caller')])) as never,
    callers: { anyone: callerKind(async () => undefined) },
    owners: {
      async object(_caller: unknown, { objectId: id }: { readonly objectId: string }) {
        if (id === 'refused') throw new DomainError('run-not-running', 'not yours')
        if (id === 'refused once' && ++asked === 1) throw new DomainError('unavailable', 'not now')
        return id !== 'foreign'
      },
    } as never,
    handlers: handlers as never,
    files: { openFile },
  })
  const listener = stack.use(
    await startListener({
      ...{ name: 'test', address: '127.0.0.1:0', services: [service], log: silentLogger, bounds },
      onJudged: () => {
        connections += 1
      },
    }),
  )
  const channel = stack.use(
    createChannel({ address: formatAddress(listener.address), tls: 'insecure', transport, component: 'test' }),
  )
  return {
    async push(id: string, breaksOff = false): Promise<boolean> {
      const content = new FileContent(sent, large.length)
      const read = content.read.bind(content)
      if (breaksOff)
        content.read = (position, length) =>
          position < 2_000_000 ? read(position, length) : began.promise.then(() => Promise.reject(new Error('broken')))
      await using _close = { [Symbol.asyncDispose]: () => content.close() }
      return (await channel.call(Fleet.method.pushObject, withObject({ objectId: id }, content))).message.stored
    },
    pull: (open?: typeof openFile) => channel.call(Fleet.method.pullObject, {}, { files: open && { openFile: open } }),
    ...{ openFile, received, deleted, port: listener.address.port },
    files: () => readdirSync(incoming),
    connections: () => connections,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

for (const transport of ['grpc', 'http'] as const) {
  test(`a large object of a request goes into a file while it arrives over ${transport}, and is hashed there`, async () => {
    await using server = await setUp(transport)
    assert.equal(await server.push('own'), true)
    const [{ content, bytesInMemory } = assert.fail('nothing came')] = server.received
    assert.ok(content instanceof IncomingFile)
    assert.deepEqual([content.length, content.sha256], [large.length, hash('sha256', large, 'hex')])
    assert.ok(bytesInMemory < 100, `${bytesInMemory} bytes of the body were in memory`)
    await server.deleted[0]
    assert.deepEqual(server.files(), [], 'what the handler does not keep is deleted')
  })

  test(`an object of another sender is not written to the disk over ${transport}`, async () => {
    await using server = await setUp(transport)
    assert.equal(await server.push('foreign'), false)
    await assert.rejects(server.push('refused'), /not yours/)
    await assert.rejects(server.push('refused once'), /could not be taken when it came/)
    assert.deepEqual([server.received.length, server.deleted.length], [0, 0])
    assert.equal(await server.push('own'), true, 'the connection is of use')
    assert.equal(server.connections(), 1, 'a refusal reads the body, as clients of Flower need it')
  })

  test(`an upload that breaks off over ${transport} leaves no file`, async () => {
    await using server = await setUp(transport)
    await assert.rejects(server.push('own', true), /could not be read: broken/)
    assert.equal(server.deleted.length, 1)
    await server.deleted[0]
    assert.deepEqual([server.files(), server.received], [[], []])
  })

  test(`a large object of a response goes into a file while it arrives over ${transport}`, async () => {
    await using server = await setUp(transport)
    const { message } = await server.pull(server.openFile)
    const content = receivedObject(message)
    assert.ok(content instanceof IncomingFile)
    await using file = content
    assert.deepEqual([file.sha256, message.objectContent.length], [hash('sha256', large, 'hex'), 0])
    assert.deepEqual(Buffer.from((await server.pull()).message.objectContent), large, 'in memory without a file')
  })

  test(`a file that cannot be written is no fault of the connection over ${transport}`, async () => {
    await using server = await setUp(transport)
    const open = async () => {
      const file = await server.openFile()
      file.write = () => Promise.reject(new DomainError('storage-full'))
      return file
    }
    await assert.rejects(server.pull(open), { code: 'storage-full' })
    await server.deleted[0]
    assert.deepEqual(server.files(), [])
  })
}

test('nonsense is refused over gRPC while it arrives, and most of it is never sent', async () => {
  await using server = await setUp('grpc')
  const socket = connect(server.port, '127.0.0.1')
  const session = connectHttp2('http://test', { createConnection: () => socket, maxSessionMemory: 100 })
  const { parent, name } = Fleet.method.pushObject
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `/${parent.typeName}/${name}`, 'content-type': 'application/grpc' },
  })
  const body = Buffer.alloc(limits.messageBytesMax, 0xa5)
  body[0] = 0
  body.writeUInt32BE(body.length - 5, 1)
  stream.end(body)
  const [headers] = (await once(stream, 'response')) as [Readonly<Record<string, unknown>>]
  assert.deepEqual([headers['grpc-status'], server.files()], ['3', []])
  await once(stream.resume(), 'close')
  assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR)
  assert.ok(socket.bytesWritten < 2 * limits.connectionWindowBytes, `${socket.bytesWritten} bytes were sent`)
  session.destroy()
  assert.equal(await server.push('own'), true)
})

test('nonsense over HTTP is read to its end, and takes no room from other requests', async () => {
  const bounds = { bodiesBytesMax: 2_000_000, bodiesPerPeerBytesMax: 1_000_000, bodyRoomMs: 200 }
  await using server = await setUp('http', bounds)
  const response = await fetch(`http://127.0.0.1:${server.port}/v1/fleet/push-object`, {
    method: 'POST',
    headers: { 'content-type': 'application/protobuf' },
    body: Buffer.alloc(10_000_000, 0xa5),
  })
  assert.deepEqual([response.status, server.files()], [400, []])
})
