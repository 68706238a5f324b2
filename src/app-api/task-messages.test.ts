import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeTaskServer, instructionFor } from '../../test/harness/fake-task-server.ts'
import { limits } from '../base/limits.ts'
import { type ObjectTree, PushObjectResponseSchema } from '../gen/flwr/proto/message_pb.ts'
import { type DeflatedMessage, deflateMessage } from '../message/deflate.ts'
import { NdArray } from '../message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../message/records.ts'
import { objectId } from '../objects/object-format.ts'
import { ObjectRefusedError, ObjectsUnavailableError } from '../objects/transfer.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import type { TaskRoute } from './fetch-objects.ts'
import { fetchMessage, findOversize, sendMessages, sendReply } from './task-messages.ts'

function setUp() {
  const server = new FakeTaskServer()
  const route: TaskRoute = { api: server.api, nodeId: 9n, runId: 5n }
  return { server, route }
}

const weights = new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(Float32Array.of(1, 2, 3)) }) })

async function offered(server: FakeTaskServer, options: { without?: boolean } = {}) {
  server.offer(instructionFor(weights), options)
  const { messageObjectTrees } = await server.api.pullMessages(undefined)
  const [tree] = messageObjectTrees
  assert.ok(tree)
  server.calls.length = 0
  return tree
}

test('a message arrives with its content, and is confirmed after its last object', async () => {
  const { server, route } = setUp()
  const tree = await offered(server)
  const message = await fetchMessage(route, tree)
  assert.deepEqual([...(message.content.arrays('arrays').get('w')?.values() ?? [])], [1, 2, 3])
  assert.equal(message.metadata.messageId, tree.objectId)
  assert.deepEqual(server.confirmed, [tree.objectId])
  assert.equal(server.calls.indexOf('confirmMessageReceived'), server.calls.length - 1)
})

test('a message whose objects are damaged, gone or refused is not confirmed', async () => {
  const damages: [RegExp | typeof ObjectsUnavailableError, (server: FakeTaskServer) => void][] = [
    [
      /arrived with other bytes than its name says/,
      ({ api }) => {
        const pull = api.pullObject
        api.pullObject = async (...call) => ({ ...(await pull(...call)), objectContent: new Uint8Array(3) })
      },
    ],
    [
      /no room/,
      ({ failures }) => {
        failures.pullObject = [undefined, new RpcError('internal', 'no room')]
      },
    ],
  ]
  for (const [expected, damage] of damages) {
    const { server, route } = setUp()
    const tree = await offered(server)
    damage(server)
    await assert.rejects(fetchMessage(route, tree), expected)
    assert.deepEqual(server.confirmed, [])
  }
  const { server, route } = setUp()
  await assert.rejects(fetchMessage(route, await offered(server, { without: true })), ObjectsUnavailableError)
  assert.deepEqual(server.confirmed, [])
})

test('a signal ends the transfer of a message', async () => {
  const { server, route } = setUp()
  const tree = await offered(server)
  const stop = new AbortController()
  server.beforeObject = async () => stop.abort(new Error('out of time'))
  await assert.rejects(fetchMessage(route, tree, { signal: stop.signal }), /out of time/)
  assert.deepEqual(server.confirmed, [])
})

const notStored = create(PushObjectResponseSchema)

/** Two messages with the same weights. */
const two = (): DeflatedMessage[] => [1, 2].map(() => deflateMessage(instructionFor(weights)))

test('what several messages share is uploaded once, and the server gets what it asks for and no more', async () => {
  const { server, route } = setUp()
  const messages = two()
  const wanted = new Set(messages.flatMap(({ objects }) => [...objects.keys()]))
  const announce = server.api.pushMessages
  server.api.pushMessages = async (request) => ({ ...(await announce(request)), objectsToPush: [...wanted] })
  assert.deepEqual(
    await sendMessages(route, messages),
    messages.map(({ messageId }) => messageId),
  )
  assert.equal(server.calls.filter((name) => name === 'pushObject').length, wanted.size)
  assert.equal(server.pushed.length, 2)

  const full = setUp()
  full.server.api.pushMessages = async (request) => ({ ...(await announce(request)), objectsToPush: [] })
  await sendMessages(full.route, two())
  assert.equal(full.server.calls.includes('pushObject'), false)
})

test('uploads name the node, the run and the session of the announcement', async () => {
  const { server, route } = setUp()
  const push = server.api.pushObject
  const seen = new Set<string>()
  server.api.pushObject = (request) => {
    seen.add(`${request.node?.nodeId} ${request.runId} ${request.sessionId}`)
    return push(request)
  }
  await sendMessages(route, two())
  assert.deepEqual([...seen], ['9 5 s'])
})

test('a refused upload is no failure if the server has the object from an earlier try', async () => {
  for (const isThere of [true, false]) {
    const { server, route } = setUp()
    const push = server.api.pushObject
    server.api.pushObject = async (request) => {
      if (isThere) await push(request)
      return notStored
    }
    const pull = server.api.pullObject
    server.api.pullObject = async (request, callOptions) => {
      const found = await pull(request, callOptions)
      return { ...found, objectAvailable: found.objectFound }
    }
    if (isThere) await sendMessages(route, two())
    else await assert.rejects(sendMessages(route, two()), ObjectRefusedError)
  }
})

test('a reply that the server has passed on without the rest of its objects is no failure', async () => {
  const { server, route } = setUp()
  server.api.pushObject = async () => notStored
  const pull = server.api.pullObject
  server.api.pullObject = async (request, callOptions) => ({
    ...(await pull(request, callOptions)),
    ...{ objectFound: false, objectAvailable: false },
  })
  const [reply] = two()
  await sendReply(route, reply as DeflatedMessage)
  await assert.rejects(sendMessages(route, two()), ObjectRefusedError)
})

/** A reply with arrays of one large chunk each, to a server of ours that has a folder for them. */
function largeReply(folder: string, arrayCount = 1) {
  const { server, route } = setUp()
  server.objectsBytesMax = limits.carriedPerCallBytesMax
  const announce = server.api.pushMessages
  server.api.pushMessages = async (request) => {
    assert.equal(request.leavesFiles, true)
    return { ...(await announce(request)), objectFolder: folder }
  }
  const arrays = new ArrayRecord()
  for (let index = 1; index <= arrayCount; index++)
    arrays.set(`w${index}`, NdArray.from(new Float32Array(limits.objectInMemoryBytesMax / 2).fill(index)))
  const instruction = instructionFor(new RecordDict({ arrays }))
  const message = deflateMessage(instruction)
  const chunkIds = [...message.chunks.keys()]
  return { server, route, instruction, message, chunkIds, chunkId: chunkIds[0] ?? '' }
}

test('a large object is left as a file in the folder that the server names', async () => {
  using folder = temporaryDirectory()
  const { server, route, message, chunkId } = largeReply(folder.path)
  const inFiles: string[] = []
  const push = server.api.pushObject
  server.api.pushObject = async (request) => {
    if (!request.inFile) return push(request)
    inFiles.push(request.objectId ?? '')
    return { ...notStored, stored: true }
  }
  await sendMessages(route, [message])
  assert.deepEqual(inFiles, [chunkId])
  assert.equal(objectId(await readFile(join(folder.path, chunkId))), chunkId)
})

test('objects are sent if their files cannot be written, or the server does not find them', async () => {
  using folder = temporaryDirectory()
  for (const named of [folder.path, join(folder.path, 'of-another-machine')]) {
    const { server, route, message, chunkIds } = largeReply(named, 3)
    const sent: string[] = []
    let asked = 0
    const firstSent = Promise.withResolvers<void>()
    server.api.pushObject = async (request) => {
      if (request.inFile) {
        asked += 1
        if (asked > 1) await firstSent.promise
        return { ...notStored, fileMissing: true }
      }
      sent.push(request.objectId ?? '')
      if (chunkIds.includes(request.objectId ?? '')) firstSent.resolve()
      return { ...notStored, stored: true }
    }
    await sendMessages(route, [message])
    assert.deepEqual(
      chunkIds.filter((id) => !sent.includes(id) || existsSync(join(named, id))),
      [],
    )
  }
})

test('a large chunk is read from the file that the server names, or fetched if that is out of reach', async () => {
  using folder = temporaryDirectory()
  const { instruction, message, chunkId } = largeReply(folder.path)
  const path = join(folder.path, chunkId)
  await writeFile(path, message.objects.get(chunkId)?.() ?? '')
  for (const objectFile of [path, join(folder.path, 'of-another-machine')]) {
    const { server, route } = largeReply(folder.path)
    server.offer(instruction)
    const { messageObjectTrees } = await server.api.pullMessages(undefined)
    const pull = server.api.pullObject
    const wholes: string[] = []
    server.api.pullObject = async (request, options) => {
      const pulled = await pull(request, options)
      if (request.objectId !== chunkId) return pulled
      if (request.takesFile) return { ...pulled, objectContent: new Uint8Array(), objectFile }
      wholes.push(chunkId)
      return pulled
    }
    const received = await fetchMessage(route, messageObjectTrees[0] as ObjectTree)
    assert.deepEqual(received.content.arrays('arrays').get('w1')?.values()[7], 1)
    assert.deepEqual(wholes, objectFile === path ? [] : [chunkId])
  }
})

test('a server that asks for an object of no message gets none', async () => {
  const { server, route } = setUp()
  const announce = server.api.pushMessages
  server.api.pushMessages = async (request) => ({ ...(await announce(request)), objectsToPush: ['f'.repeat(64)] })
  await assert.rejects(sendMessages(route, two()), /asks for object f+, which is not part of the messages/)
  assert.equal(server.calls.includes('pushObject'), false)
})

test('a message may be as large as the limits say, and no larger', () => {
  const size = (objects: number, objectBytesLargest: number): DeflatedMessage =>
    ({ objects: { size: objects }, objectBytesLargest }) as unknown as DeflatedMessage
  assert.equal(findOversize(size(limits.objectTreeNodesMax, limits.objectBytesMax)), undefined)
  assert.match(findOversize(size(limits.objectTreeNodesMax + 1, 1)) ?? '', /^it is made of 20001 objects, more than/)
  assert.match(findOversize(size(1, limits.objectBytesMax + 1)) ?? '', /^one of its records is \d+ bytes, more than/)
})
