import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { type AppServer, foreignMessage, startLink, startNode, stateNamed } from '../../test/harness/app-servers.ts'
import { channelTo } from '../../test/harness/in-memory-channel.ts'
import { InMemoryClient } from '../../test/harness/in-memory-client.ts'
import { emptyFab, nothing } from '../../test/harness/superlink-core.ts'
import { superlinkNodeId } from '../base/ids.ts'
import { ObjectTreeSchema } from '../gen/flwr/proto/message_pb.ts'
import { RpcError } from '../rpc/channel.ts'
import { createAppioTask } from './appio-task.ts'
import { createRuntimeTask } from './runtime-task.ts'
import { type AppProgram, type TaskApi, TaskEndedError } from './task-api.ts'

/** What both generations of the API for apps promise to an app process, at a SuperNode and at a SuperLink of ours. */

type Options = Parameters<typeof createRuntimeTask>[0]

const generations: Readonly<Record<string, (program: AppProgram, options: Options) => TaskApi>> = {
  runtime: (_program, options) => createRuntimeTask(options),
  appio: createAppioTask,
}

/** An app process of a task of the server. */
async function openTask(server: AppServer, generation: string, token?: string) {
  const stop = new AbortController()
  const channel = channelTo(new InMemoryClient(server.services))
  const open = generations[generation] as (typeof generations)[string]
  const options = { channel, token: token ?? (await server.take()), log: undefined, signal: stop.signal }
  return { api: open(server.program, options), stop }
}

for (const name of Object.keys(generations)) {
  test(`${name}: a task has an input, one message with its objects, and ends with reply and context`, async () => {
    await using server = await startNode()
    const { node } = server
    const id = node.instruct(7n, 50_000)
    const { api } = await openTask(server, name)
    const { context, run, fab } = await api.pullInput()
    assert.deepEqual([context.runId, run.runId], [7n, 7n])
    assert.ok((fab?.content.length ?? 0) > 0)
    assert.equal((await api.sendHeartbeat({ waitMs: 0 })).success, true)
    const { messagesList, messageObjectTrees } = await api.pullMessages(undefined)
    assert.equal(messagesList[0]?.metadata?.messageId, id)
    const objectId = messageObjectTrees[0]?.objectId ?? ''
    const about = { node: { nodeId: context.nodeId }, runId: 7n }
    const pulled = await api.pullObject({ ...about, objectId }, { waitMs: 1000 })
    assert.equal(pulled.objectAvailable, true)
    await api.confirmMessageReceived({ ...about, messageObjectId: id })
    await node.replyOver(api)
    await api.finish({ context, subStatus: 'completed', details: '' })
    await node.fleet.replied(1)
    assert.equal(node.fleet.replies[0]?.metadata?.replyToMessageId, id)
    assert.equal(node.fleet.replies[0]?.error, undefined)
  })

  test(`${name}: a ServerApp has an input, sends messages, receives replies with their objects, and ends its run`, async () => {
    await using server = await startLink()
    const { superlink, runId } = server
    const nodeId = await superlink.join('node')
    const { api } = await openTask(server, name)
    const { context, run, fab } = await api.pullInput()
    assert.deepEqual([context.runId, context.nodeId, run.runId], [runId, superlinkNodeId, runId])
    assert.deepEqual(Buffer.from(fab?.content ?? []), Buffer.from(emptyFab()))
    assert.equal((await api.sendHeartbeat({ waitMs: 0 })).success, true)
    assert.deepEqual(
      (await api.getNodes()).map((node) => node.nodeId),
      [nodeId],
    )
    await api.pushLogs(['a line\n'])

    const instruction = superlink.instruction(runId, nodeId, { bytes: 50_000 })
    const { wire, tree, objects } = instruction.deflated
    const pushed = await api.pushMessages({ messagesList: [wire], messageObjectTrees: [tree] })
    assert.deepEqual(pushed.messageIds, [instruction.messageId])
    assert.deepEqual(new Set(pushed.objectsToPush), new Set(objects.keys()))
    const about = { node: { nodeId: superlinkNodeId }, runId }
    for (const objectId of pushed.objectsToPush) {
      const objectContent = (objects.get(objectId) as () => Uint8Array)()
      const pushedObject = await api.pushObject({ ...about, objectId, objectContent, sessionId: pushed.sessionId })
      assert.equal(pushedObject.stored, true)
    }
    assert.equal((await superlink.claim(nodeId))?.metadata.messageId, instruction.messageId)

    const reply = superlink.replyTo(instruction, { bytes: 50_000 })
    await superlink.reply(reply)
    const { messagesList } = await api.pullMessages([instruction.messageId], { waitMs: 1000 })
    assert.deepEqual(
      messagesList.map(({ metadata }) => metadata?.messageId),
      [reply.messageId],
    )
    // A second try whose first response was lost, after the node has let go of the object.
    await superlink.confirm(instruction)
    const objectContent = (objects.get(instruction.messageId) as () => Uint8Array)()
    const secondTry = { ...about, objectId: instruction.messageId, objectContent }
    assert.equal((await api.pushObject({ ...secondTry, sessionId: pushed.sessionId })).stored, true)
    assert.equal((await api.pushObject(secondTry)).stored, false)
    for (const [objectId, read] of reply.deflated.objects) {
      const { objectAvailable, objectContent } = await api.pullObject({ ...about, objectId }, { waitMs: 1000 })
      assert.equal(objectAvailable, true)
      assert.deepEqual(Buffer.from(objectContent), Buffer.from(read()))
    }
    await api.confirmMessageReceived({ ...about, messageObjectId: reply.messageId })
    const { messagesList: again } = await api.pullMessages([instruction.messageId], { waitMs: 0 })
    assert.deepEqual(
      again.filter(({ error }) => error === undefined),
      [],
    )

    await api.finish({ context: { ...context, state: stateNamed('kept') }, subStatus: 'completed', details: '' })
    assert.deepEqual(await server.outcome(), { status: 'finished', subStatus: 'completed', kept: ['kept'] })
    assert.deepEqual(await superlink.leftovers(), nothing)
  })

  for (const [where, start] of [
    ['SuperNode', startNode],
    ['SuperLink', startLink],
  ] as const) {
    const setUp = async () => {
      const server = await start()
      if ('node' in server) server.node.instruct(7n)
      return server
    }

    test(`${name} at a ${where}: every call of a task that has ended is refused as one of an ended task`, async () => {
      await using server = await setUp()
      const { api } = await openTask(server, name)
      const { context } = await api.pullInput()
      if ('node' in server) await server.node.replyOver(api)
      await api.finish({ context, subStatus: 'completed', details: '' })
      const about = { node: { nodeId: context.nodeId }, runId: context.runId }
      const calls: (() => Promise<unknown>)[] = [
        () => api.pullInput(),
        () => api.sendHeartbeat({ waitMs: 0 }),
        () => api.pullMessages(undefined),
        () => api.pushMessages({ messagesList: [], messageObjectTrees: [] }),
        () => api.pushObject({ ...about, objectId: 'a'.repeat(64) }),
        () => api.pullObject({ ...about, objectId: 'a'.repeat(64) }, { waitMs: 0 }),
        () => api.confirmMessageReceived({ ...about, messageObjectId: 'a'.repeat(64) }),
        () => api.finish({ context, subStatus: 'failed', details: '' }),
        ...('node' in server ? [] : [() => api.pushLogs(['late\n']), () => api.getNodes()]),
      ]
      for (const [index, call] of calls.entries()) await assert.rejects(call(), TaskEndedError, `call ${index}`)
    })

    test(`${name} at a ${where}: an app may ask for its input again, an unknown token ends at once, and a refusal is an RpcError`, async () => {
      await using server = await setUp()
      const { api, stop } = await openTask(server, name)
      const { context } = await api.pullInput()
      assert.deepEqual((await api.pullInput()).context, context)
      const tree = create(ObjectTreeSchema, { objectId: 'a'.repeat(64) })
      await assert.rejects(api.pushMessages({ messagesList: [], messageObjectTrees: [tree] }), RpcError)
      const { api: unknown } = await openTask(server, name, 'f'.repeat(256))
      await assert.rejects(unknown.sendHeartbeat({ waitMs: 0 }), TaskEndedError)
      stop.abort(new Error('stopped'))
      await assert.rejects(api.sendHeartbeat({ waitMs: 0 }), /stopped/)
    })

    test(`${name} at a ${where}: an app neither reads nor stores objects that are not of its messages`, async () => {
      await using server = await setUp()
      const { api } = await openTask(server, name)
      const { context } = await api.pullInput()
      const about = { node: { nodeId: context.nodeId }, runId: context.runId }
      for (const [objectId, read] of foreignMessage().objects) {
        assert.equal((await api.pullObject({ ...about, objectId }, { waitMs: 0 })).objectFound, false)
        assert.equal((await api.pushObject({ ...about, objectId, objectContent: read() })).stored, false)
      }
    })
  }
}
