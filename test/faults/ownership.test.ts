import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { errorCodes, Message, type Metadata } from '../../src/message/message.ts'
import { MetricRecord, RecordDict } from '../../src/message/records.ts'
import { strippedMessage } from '../../src/message/wire.ts'
import { encodeObject, objectId } from '../../src/objects/object-format.ts'
import { type ObjectTree, objectTree } from '../../src/objects/object-tree.ts'
import { refusalOf } from '../harness/mutual-tls.ts'
import { TwoRuns } from '../harness/two-runs.ts'

describe('messages and objects belong to their sender and receiver', { concurrency: false }, () => {
  test('a SuperNode cannot confirm, read or answer the instruction of another, which then gets it whole', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    const instruction = await world.instruct(alice, alice.nodeId)
    const other = { node: { nodeId: bob.nodeId }, runId: alice.runId }
    const { messageId } = instruction
    const confirmation = { ...other, messageObjectId: messageId }
    // A run that has never asked the node for something is as one that does not exist.
    await assert.rejects(bob.node.call(Fleet.method.confirmMessageReceived, confirmation), /Run ID not found/)
    await assert.rejects(bob.node.call(Fleet.method.getRun, { ...other }), /Run ID not found/)
    await world.instruct(alice, bob.nodeId, { seed: 5 })
    assert.equal(
      await refusalOf(bob.node.call(Fleet.method.confirmMessageReceived, confirmation)),
      'message-of-another',
    )
    for (const objectId of instruction.objects.keys()) {
      const { message } = await bob.node.call(Fleet.method.pullObject, { ...other, objectId })
      assert.deepEqual([message.objectFound, message.objectContent.length], [false, 0])
    }
    await world.reply({ ...alice, node: bob.node, nodeId: bob.nodeId }, instruction)
    assert.deepEqual(await world.replies(alice, [messageId]), [], 'nothing of the other SuperNode counts')

    assert.equal((await world.fetch(alice)).messagesList[0]?.metadata?.messageId, messageId)
    const own = { node: { nodeId: alice.nodeId }, runId: alice.runId }
    assert.equal((await alice.node.call(Fleet.method.getRun, own)).message.run?.runId, alice.runId)
    for (const objectId of instruction.objects.keys()) {
      const { message } = await alice.node.call(Fleet.method.pullObject, { ...own, objectId })
      assert.ok(message.objectAvailable, objectId)
    }
    await alice.node.call(Fleet.method.confirmMessageReceived, { ...own, messageObjectId: messageId })
    // As Flower's SuperNodes may do after a lost response.
    await alice.node.call(Fleet.method.confirmMessageReceived, { ...own, messageObjectId: messageId })
    await alice.node.call(Fleet.method.confirmMessageReceived, { ...own, messageObjectId: 'f'.repeat(64) })
    const answer = await world.reply(alice, instruction)
    const confirmReply = { ...own, messageObjectId: answer.messageId }
    assert.equal(
      await refusalOf(alice.node.call(Fleet.method.confirmMessageReceived, confirmReply)),
      'message-of-another',
    )
    assert.deepEqual(
      (await world.replies(alice, [messageId])).map(({ metadata }) => metadata?.messageId),
      [answer.messageId],
    )
  })

  test('a SuperNode uploads the objects of its own announced reply alone', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    const instruction = await world.instruct(alice, alice.nodeId, { upload: false })
    await world.instruct(alice, bob.nodeId, { seed: 5 })
    const [objectId, bytes] = [...instruction.objects][0] as [string, () => Uint8Array]
    const push = async (node: typeof bob) => {
      const object = { node: { nodeId: node.nodeId }, runId: alice.runId, objectId, objectContent: bytes() }
      return (await node.node.call(Fleet.method.pushObject, object)).message.stored
    }
    assert.deepEqual([await push(bob), await push(alice)], [false, false], 'an instruction is uploaded by its app')
    assert.deepEqual(await world.upload(alice, instruction), [])
  })

  test('an app cannot read, confirm or reply to messages of another run, although it knows the ids', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    const instruction = await world.instruct(alice, alice.nodeId)
    const waiting = await world.instruct(alice, bob.nodeId, { seed: 1 })
    await world.fetch(alice)
    const answer = await world.reply(alice, instruction)
    const { channel, options } = world.appOf(bob)
    const node = { nodeId: 1n }
    for (const objectId of [...instruction.objects.keys(), ...answer.objects.keys()]) {
      const { message } = await channel.call(Runtime.method.pullObject, { node, runId: alice.runId, objectId }, options)
      assert.deepEqual([message.objectFound, message.objectContent.length], [false, 0])
    }
    const stolen = await world.replies(bob, [instruction.messageId, waiting.messageId])
    assert.deepEqual(
      stolen.map(({ error, metadata }) => [Number(error?.code), metadata?.runId]),
      Array(2).fill([errorCodes.messageUnavailable, bob.runId]),
    )
    for (const messageObjectId of [answer.messageId, instruction.messageId]) {
      const confirm = { node, runId: bob.runId, messageObjectId }
      assert.equal(
        await refusalOf(channel.call(Runtime.method.confirmMessageReceived, confirm, options)),
        'message-of-another',
      )
    }
    const foreign = { messagesList: [waiting.wire], messageObjectTrees: [waiting.tree] }
    await assert.rejects(channel.call(Runtime.method.pushMessages, foreign, options), /another run/)
    // What Bob's app asked for has left no error where Alice's reply belongs.
    const replies = await world.replies(alice, [instruction.messageId, waiting.messageId])
    assert.deepEqual(
      replies.map(({ metadata, error }) => [metadata?.messageId, error]),
      [[answer.messageId, undefined]],
    )
  })

  test('questions for messages that never were are answered, and leave nothing behind', async () => {
    await using world = await TwoRuns.start({ arguments: (file) => ['--database', file('state.db')] })
    const { alice } = world
    const ids = Array.from({ length: 2000 }, (_, index) => index.toString(16).padStart(64, '0'))
    const replies = await world.replies(alice, ids)
    assert.deepEqual([replies.length, new Set(replies.map(({ error }) => Number(error?.code)))], [2000, new Set([3])])
    // The app fetches such a reply like any other.
    const { channel, options } = world.appOf(alice)
    const object = { node: { nodeId: 1n }, runId: alice.runId, objectId: replies[0]?.metadata?.messageId ?? '' }
    assert.ok((await channel.call(Runtime.method.pullObject, object, options)).message.objectAvailable)
    const { DatabaseSync } = await import('node:sqlite')
    using database = new DatabaseSync(world.deployment.file('state.db'), { readOnly: true })
    const count = (table: string) => database.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.rows
    assert.deepEqual(['message', 'message_object', 'object'].map(count), [0, 0, 0])
    const tooMany = Array.from({ length: 20_001 }, (_, index) => index.toString(16).padStart(64, '0'))
    await assert.rejects(world.replies(alice, tooMany), /More than 20000 message ids/)
  })
})

describe('a SuperNode that misbehaves harms its own reply alone', { concurrency: false }, () => {
  test('one that confirms before it has the message gets an error reply, and the upload goes on', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    const instruction = await world.instruct(alice, alice.nodeId, { upload: false })
    const others = await world.instruct(alice, bob.nodeId, { seed: 1 })
    const confirm = { node: { nodeId: alice.nodeId }, runId: alice.runId, messageObjectId: instruction.messageId }
    await alice.node.call(Fleet.method.confirmMessageReceived, confirm)
    assert.deepEqual(await world.upload(alice, instruction), [], 'the ServerApp knows nothing of it')
    const [error] = await world.replies(alice, [instruction.messageId])
    assert.match(error?.error?.reason ?? '', /confirmed the message without having received it/)
    assert.deepEqual((await world.fetch(alice)).messagesList, [], 'it is not handed out any more')
    await world.fetch(bob)
    const answer = await world.reply({ ...alice, node: bob.node, nodeId: bob.nodeId }, others)
    assert.equal((await world.replies(alice, [others.messageId]))[0]?.metadata?.messageId, answer.messageId)
  })

  test('one whose reply cannot be read, or says that it is another, gets an error reply', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    const bobsNode = { ...alice, node: bob.node, nodeId: bob.nodeId }
    const other = await world.instruct(alice, alice.nodeId, { seed: 99 })
    await world.fetch(alice)
    for (const [index, [spoil, reason]] of spoiltReplies(alice.nodeId, other.messageId).entries()) {
      const instruction = await world.instruct(alice, bob.nodeId, { seed: index })
      await world.fetch(bob)
      const reply = new Message(instruction.wire.metadata as unknown as Metadata, { content: new RecordDict() }).reply(
        new RecordDict({ metrics: new MetricRecord({ seed: index }) }),
      )
      const metadata = { ...reply.metadata, srcNodeId: bob.nodeId, dstNodeId: 1n }
      await world.send(bobsNode, spoil(deflateMessage(reply, metadata), metadata)).catch((error: unknown) => {
        assert.match(String(error), /Malformed object/)
      })
      const [answer] = await world.replies(alice, [instruction.messageId])
      assert.equal(Number(answer?.error?.code), errorCodes.replyMessageUnavailable, String(reason))
      assert.match(answer?.error?.reason ?? '', reason)
    }
    const good = await world.reply(alice, other)
    assert.deepEqual(
      (await world.replies(alice, [other.messageId])).map(({ metadata }) => metadata?.messageId),
      [good.messageId],
    )
  })

  test('one that fetches and confirms before the objects are there gets an error reply', async () => {
    await using world = await TwoRuns.start()
    const { alice } = world
    const instruction = await world.instruct(alice, alice.nodeId, { upload: false })
    await world.fetch(alice)
    const confirm = { node: { nodeId: alice.nodeId }, runId: alice.runId, messageObjectId: instruction.messageId }
    await alice.node.call(Fleet.method.confirmMessageReceived, confirm)
    assert.deepEqual(await world.upload(alice, instruction), [])
    const [error] = await world.replies(alice, [instruction.messageId])
    assert.equal(Number(error?.error?.code), errorCodes.replyMessageUnavailable)
  })
})

type Sent = Pick<DeflatedMessage, 'wire' | 'tree' | 'objects'>

/** Ways to spoil a reply, and what the ServerApp hears of each. */
function spoiltReplies(
  otherNode: bigint,
  otherMessage: string,
): (readonly [(reply: DeflatedMessage, metadata: Metadata) => Sent, RegExp])[] {
  /** The bytes of a message object with other children. */
  const withChildren = (reply: DeflatedMessage, children: readonly [ObjectTree, Uint8Array][]): Sent => {
    const bytes = reply.objects.get(reply.messageId)?.() as Uint8Array
    const body = bytes.subarray(bytes.indexOf(0) + 1)
    const trees = children.map(([tree]) => tree)
    const message = encodeObject(
      'Message',
      trees.map(({ objectId: id }) => id),
      body,
    )
    const id = objectId(message)
    const wire = strippedMessage({ ...(reply.wire.metadata as unknown as Metadata), messageId: id }, undefined)
    const objects = new Map(children.map(([tree, child]) => [tree.objectId, () => child]))
    return { wire, tree: objectTree(id, trees), objects: objects.set(id, () => message) }
  }
  const leaf = (bytes: Uint8Array): [ObjectTree, Uint8Array] => [objectTree(objectId(bytes)), bytes]
  const saying =
    (change: Partial<Metadata>) =>
    (reply: DeflatedMessage, metadata: Metadata): Sent => {
      const content = new RecordDict({ metrics: new MetricRecord({ lie: 1 }) })
      const lie = deflateMessage(new Message({ ...metadata, ...change }, { content }))
      return { ...lie, wire: strippedMessage({ ...metadata, messageId: lie.messageId }, reply.wire.error as undefined) }
    }
  return [
    [(reply) => withChildren(reply, [leaf(Buffer.from('no object'))]), /Malformed object/],
    [(reply) => withChildren(reply, []), /has one RecordDict/],
    [(reply) => withChildren(reply, [leaf(encodeObject('RecordDict', [], Buffer.from('no JSON')))]), /JSON/],
    [(reply) => withChildren(reply, [leaf(encodeObject('ArrayChunk', [], Buffer.from('x')))]), /not RecordDict/],
    [(reply) => ({ ...reply, tree: objectTree(reply.messageId) }), /not those of its tree/],
    [saying({ srcNodeId: otherNode }), /its srcNodeId is another/],
    [saying({ replyToMessageId: otherMessage }), /its replyToMessageId is another/],
    [saying({ runId: 5n }), /its runId is another/],
  ]
}
