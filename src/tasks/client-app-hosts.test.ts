import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ClientAppHost, clientAppHosts, PlayedApp } from '../../test/harness/app-hosts.ts'
import { nothing, type OwnMessage, settled } from '../../test/harness/superlink-core.ts'
import { limits } from '../base/limits.ts'
import type { Context } from '../gen/flwr/proto/message_pb.ts'
import { MetricRecord, RecordDict } from '../message/records.ts'
import { recordDictToWire } from '../message/wire.ts'
import { byHash } from '../objects/carried-objects.ts'
import { objectId } from '../objects/object-format.ts'
import { flattenTree } from '../objects/object-tree.ts'

const clean = { message_object: 0, object: 0, virtual_node: 0, task: 0 }

/** A SuperNode learns of the end of a run a moment later. */
async function ensureClean(host: ClientAppHost): Promise<void> {
  const endsAt = performance.now() + 120_000
  while (Object.values(await host.leftovers()).some((count) => count > 0) && performance.now() < endsAt)
    await settled(1)
  assert.deepEqual(await host.leftovers(), clean)
}

async function ask(host: ClientAppHost, bytes = 50_000): Promise<OwnMessage> {
  const message = host.superlink.instruction(host.runId, host.nodeId, { bytes })
  await host.superlink.push(host.runId, [message])
  return message
}

const replies = (host: ClientAppHost, { messageId }: OwnMessage) =>
  host.superlink.collect(host.runId, [messageId], { waitMs: 60_000 })

/** A reply with all its objects, for the end of its task. */
function wholeReply({ deflated }: OwnMessage) {
  const objects = [...deflated.objects.values()].map((read) => read())
  return { reply: deflated.wire, replyObjectTree: deflated.tree, objects }
}

function outputOf({ context }: { context?: Context | undefined }) {
  return { subStatus: 'completed', ...(context ? { context } : {}) }
}

for (const [name, start] of Object.entries(clientAppHosts)) {
  test(`${name} gives a ClientApp its app, instruction and objects, and its reply reaches the ServerApp`, async () => {
    await using host = await start()
    const asked = await ask(host)
    const app = await PlayedApp.launch(host)
    const { context, run, fab } = await app.call('pullTaskInput', {})
    assert.deepEqual([context?.nodeId, context?.runId, run?.runId], [host.nodeId, host.runId, host.runId])
    assert.equal(fab?.hashStr, run?.fabHash)
    const { messagesList } = await app.call('pullMessages', {})
    assert.deepEqual(
      messagesList.map(({ metadata }) => metadata?.messageId),
      [asked.messageId],
    )
    const node = { nodeId: host.nodeId }
    for (const objectId of flattenTree(asked.deflated.tree)) {
      const { objectContent } = await app.call('pullObject', { node, runId: host.runId, objectId })
      assert.deepEqual(
        Buffer.from(objectContent),
        Buffer.from((asked.deflated.objects.get(objectId) as () => Uint8Array)()),
      )
    }
    await app.call('confirmMessageReceived', { node, runId: host.runId, messageObjectId: asked.messageId })
    const reply = host.superlink.replyTo(asked, { bytes: 50_000 })
    await app.reply(host, reply)
    await app.call('pushTaskOutput', { subStatus: 'completed', ...(context ? { context } : {}) })
    assert.deepEqual(
      (await replies(host, asked)).map(({ metadata }) => metadata.messageId),
      [reply.messageId],
    )
  })

  test(`${name} gives a small instruction with the input of its task, and takes the reply with the output`, async () => {
    await using host = await start()
    const along = { objectsBytesMax: limits.carriedBytesMax, messageRequired: true }
    let known = {}
    for (const round of [1, 2]) {
      const asked = await ask(host, 50_000)
      const app = await PlayedApp.launch(host)
      // A SuperNode may still be receiving the objects: these calls are held until it has them.
      const node = { nodeId: host.nodeId }
      for (const objectId of flattenTree(asked.deflated.tree))
        await app.call('pullObject', { node, runId: host.runId, objectId })
      const input = await app.call('pullTaskInput', { ...along, ...known })
      assert.equal(input.message?.metadata?.messageId, asked.messageId)
      assert.deepEqual([...byHash(input.objects).keys()].toSorted(), flattenTree(asked.deflated.tree).toSorted())
      // The app that the process has is not sent again.
      assert.equal(input.fab?.hashStr, input.run?.fabHash)
      assert.equal((input.fab?.content.length ?? 0) > 0, round === 1)
      known = { fabHash: input.fab?.hashStr }
      const reply = host.superlink.replyTo(asked, { bytes: 50_000 })
      await app.call('pushTaskOutput', { ...outputOf(input), ...wholeReply(reply) })
      const [received] = await replies(host, asked)
      assert.deepEqual([received?.metadata.messageId, received?.error], [reply.messageId, undefined])
    }
    await host.superlink.stop(host.runId)
    await ensureClean(host)
    assert.deepEqual(await host.superlink.leftovers(), nothing)
  })

  test(`${name} hands large objects over as files, both ways, to an app that asks for it`, async () => {
    await using host = await start()
    const large = 2 * limits.objectInMemoryBytesMax
    const asked = await ask(host, large)
    const app = await PlayedApp.launch(host)
    const output = outputOf(await app.call('pullTaskInput', {}))
    const node = { nodeId: host.nodeId }
    const about = { node, runId: host.runId }
    const chunkOf = ({ deflated }: OwnMessage): string => [...deflated.chunks.keys()][0] ?? ''
    const asFile = await app.call('pullObject', { ...about, objectId: chunkOf(asked), takesFile: true })
    assert.deepEqual([asFile.objectAvailable, asFile.objectContent.length], [true, 0])
    assert.equal(objectId(await readFile(asFile.objectFile)), chunkOf(asked))
    const whole = await app.call('pullObject', { ...about, objectId: chunkOf(asked) })
    assert.equal(objectId(whole.objectContent), chunkOf(asked))
    const foreign = await app.call('pullObject', { ...about, objectId: 'a'.repeat(64), takesFile: true })
    assert.deepEqual([foreign.objectFound, foreign.objectFile], [false, ''])

    const reply = host.superlink.replyTo(asked, { bytes: large })
    const { deflated } = reply
    const announced = { messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
    assert.equal((await app.call('pushMessages', announced)).objectFolder, '')
    const { objectFolder, objectsToPush } = await app.call('pushMessages', { ...announced, leavesFiles: true })
    assert.ok(objectsToPush.includes(chunkOf(reply)))
    for (const id of objectsToPush) {
      const left = { ...about, objectId: id, inFile: true }
      const path = join(objectFolder, id)
      assert.equal((await app.call('pushObject', left)).fileMissing, true)
      await symlink(asFile.objectFile, path)
      assert.equal((await app.call('pushObject', left)).fileMissing, true, 'a link is no file')
      await rm(path)
      await writeFile(path, (deflated.objects.get(id) as () => Uint8Array)())
      assert.equal((await app.call('pushObject', left)).stored, true)
      // The response may have been lost.
      assert.equal((await app.call('pushObject', left)).stored, true)
    }
    await app.call('pushTaskOutput', output)
    const [received] = await replies(host, asked)
    assert.deepEqual([received?.metadata.messageId, received?.error], [reply.messageId, undefined])
    await host.superlink.stop(host.runId)
    await ensureClean(host)
    assert.equal(existsSync(objectFolder), false)
  })

  test(`${name} starts no task whose message must come along and is too large`, async () => {
    await using host = await start()
    await ask(host, limits.carriedBytesMax)
    const app = await PlayedApp.launch(host)
    const along = { objectsBytesMax: 2 ** 32 - 1, messageRequired: true }
    const none = await app.call('pullTaskInput', along)
    assert.deepEqual([none.context, none.run, none.fab, none.message, none.objects], [...Array(4), []])
    // Another program can run the task.
    const input = await app.call('pullTaskInput', { objectsBytesMax: limits.carriedBytesMax })
    assert.notEqual(input.context, undefined)
    assert.equal(input.message, undefined)
  })

  test(`${name} refuses a reply with the output that is not whole or not the reply of its app`, async () => {
    await using host = await start()
    const asked = await ask(host)
    const foreign = host.superlink.instruction(host.runId, host.nodeId)
    const app = await PlayedApp.launch(host)
    const output = outputOf(await app.call('pullTaskInput', {}))
    const whole = wholeReply(host.superlink.replyTo(asked))
    const push = (fields: object) => app.call('pushTaskOutput', { ...output, ...whole, ...fields })
    await assert.rejects(push({ objects: whole.objects.slice(1) }), { code: 'invalid-request' })
    const stray = host.superlink.replyTo(asked).deflated.objects.values().next().value as () => Uint8Array
    await assert.rejects(push({ objects: [...whole.objects, stray()] }), { code: 'invalid-request' })
    await assert.rejects(push(wholeReply(host.superlink.replyTo(foreign))), { code: 'invalid-request' })
    await assert.rejects(push(wholeReply(host.superlink.replyTo(asked, { bytes: limits.carriedBytesMax }))), {
      code: 'invalid-request',
    })
    await app.reply(host, host.superlink.replyTo(asked))
    await push({})
    const [reply] = await replies(host, asked)
    assert.equal(reply?.metadata.messageId, whole.reply.metadata?.messageId)
    await host.superlink.stop(host.runId)
    await ensureClean(host)
  })

  test(`${name} hands what a ClientApp keeps to the next one of its node and run`, async () => {
    await using host = await start()
    for (const round of [1n, 2n]) {
      const asked = await ask(host)
      const app = await PlayedApp.launch(host)
      const { context } = await app.call('pullTaskInput', {})
      const [item] = context?.state?.items ?? []
      assert.equal(item?.key, round === 1n ? undefined : 'kept')
      await app.reply(host, host.superlink.replyTo(asked))
      const state = recordDictToWire(new RecordDict({ kept: new MetricRecord({ round }) }))
      await app.call('pushTaskOutput', {
        subStatus: 'completed',
        ...(context ? { context: { ...context, state } } : {}),
      })
      assert.equal((await replies(host, asked))[0]?.error, undefined)
    }
  })

  test(`${name} turns whatever a ClientApp leaves undone into an error that says why`, async () => {
    await using host = await start()
    const ends = {
      'without a reply': async () => {},
      'with a part of its reply': (app: PlayedApp, asked: OwnMessage) =>
        app.reply(host, host.superlink.replyTo(asked), { upload: false }),
    }
    for (const [end, act] of Object.entries(ends)) {
      const asked = await ask(host)
      const app = await PlayedApp.launch(host)
      await app.call('pullTaskInput', {})
      await act(app, asked)
      await app.call('pushTaskOutput', { subStatus: 'failed', details: 'It broke.' })
      const [reply] = await replies(host, asked)
      assert.equal(reply?.error?.reason, 'ClientApp stopped responding. It broke.', end)
    }
  })

  test(`${name} refuses what a ClientApp may not send, read or ask for`, async () => {
    await using host = await start()
    const asked = await ask(host)
    const foreign = host.superlink.instruction(host.runId, host.nodeId, { bytes: 50_000 })
    const app = await PlayedApp.launch(host)
    await app.call('pullTaskInput', {})
    const { deflated } = host.superlink.replyTo(asked)
    const push = (fields: object, trees = [deflated.tree]) => {
      const metadata = { ...deflated.wire.metadata, ...fields } as NonNullable<typeof deflated.wire.metadata>
      return app.call('pushMessages', { messagesList: [{ ...deflated.wire, metadata }], messageObjectTrees: trees })
    }
    await assert.rejects(push({ runId: 5n }), { code: 'not-of-this-task' })
    await assert.rejects(push({ srcNodeId: 5n }), { code: 'unexpected-node-id' })
    await assert.rejects(push({ replyToMessageId: foreign.messageId }), { code: 'invalid-request' })
    await assert.rejects(push({}, []), { code: 'message-count-invalid' })
    await assert.rejects(app.call('pushMessages', {}), { code: 'message-count-invalid' })
    const node = { nodeId: host.nodeId }
    const object = { node, runId: host.runId, objectId: foreign.messageId }
    assert.equal((await app.call('pullObject', object)).objectFound, false)
    assert.equal((await app.call('pushObject', { ...object, objectContent: new Uint8Array(3) })).stored, false)
    const other = { node, runId: host.runId, messageObjectId: foreign.messageId }
    await assert.rejects(app.call('confirmMessageReceived', other), { code: 'message-of-another' })
    await assert.rejects(app.call('getNodes', {}), { code: 'task-forbidden' })
    await assert.rejects(app.call('pushTaskOutput', { subStatus: 'perhaps' }), { code: 'invalid-request' })
  })

  test(`${name} hands out the input of a task again, because a response may be lost`, async () => {
    await using host = await start()
    await ask(host)
    const app = await PlayedApp.launch(host)
    const input = await app.call('pullTaskInput', {})
    assert.deepEqual(await app.call('pullTaskInput', {}), input)
  })

  test(`${name} keeps the last reply of a ClientApp that thinks again, and nothing when its run has ended`, async () => {
    await using host = await start()
    const asked = await ask(host)
    const app = await PlayedApp.launch(host)
    await app.call('pullTaskInput', {})
    await app.reply(host, host.superlink.replyTo(asked, { bytes: 50_000 }))
    const second = host.superlink.replyTo(asked, { bytes: 50_000 })
    await app.reply(host, second)
    await app.call('pushTaskOutput', { subStatus: 'completed' })
    const [reply] = await replies(host, asked)
    assert.equal(reply?.metadata.messageId, second.messageId)
    await assert.rejects(app.call('pushTaskOutput', { subStatus: 'completed' }), { code: 'token-invalid' })
    await host.superlink.stop(host.runId)
    await ensureClean(host)
    assert.deepEqual(await host.superlink.leftovers(), nothing)
  })

  test(`${name} lets go of a reply whose run is stopped while it is pushed`, async () => {
    await using host = await start()
    const asked = await ask(host)
    const app = await PlayedApp.launch(host)
    await app.call('pullTaskInput', {})
    const pushing = app.reply(host, host.superlink.replyTo(asked, { bytes: 50_000 }), { upload: false })
    await Promise.allSettled([host.superlink.stop(host.runId), pushing])
    await ensureClean(host)
    assert.deepEqual(await host.superlink.leftovers(), nothing)
  })
}
