import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { Runtime } from '../../gen/flwr/proto/runtime_pb.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'
import { createRuntimeService } from '../../tasks/runtime-service.ts'
import type { Task } from '../../tasks/task.ts'
import { findRun } from '../runs/run.ts'
import { createSuperlinkBackend } from './runtime-backend.ts'

const { signal } = new AbortController()

/** A SuperLink with a run, whose looks at the nodes are counted. */
async function setUp() {
  const core = await SuperlinkCore.start()
  const { runNodes } = core.ctx
  let looks = 0
  const listReachable: typeof runNodes.listReachable = (...args) => {
    looks++
    return runNodes.listReachable(...args)
  }
  const { runId, taskId } = await core.run()
  const task = { runId, taskId } as Task
  return {
    ...{ core, task, looks: () => looks },
    backend: createSuperlinkBackend({ ...core.ctx, runNodes: { ...runNodes, listReachable } }),
    [Symbol.asyncDispose]: () => core[Symbol.asyncDispose](),
  }
}

test('a ServerApp that waits for nodes gets them when one joins, and the SuperLink looks for none meanwhile', async () => {
  await using run = await setUp()
  const { core, backend, task, looks } = run
  const nodes = backend.getNodes(task, { knownNodes: 0, waitMs: 60_000, signal })
  await settled()
  assert.equal(looks(), 1)
  // Something else happens in the run, which adds no node.
  core.ctx.bells.replies.arrived(task.runId, 'some')
  await settled()
  assert.equal(looks(), 1)
  const nodeId = await core.join('node')
  assert.deepEqual(
    (await nodes).nodes?.map((node) => node.nodeId),
    [nodeId],
  )
})

test('a ServerApp that knows another number of nodes, or does not wait, gets them at once', async () => {
  await using run = await setUp()
  const { core, backend, task } = run
  await core.join('node')
  const count = async (wait?: Parameters<typeof backend.getNodes>[1]) =>
    (await backend.getNodes(task, wait)).nodes?.length
  assert.equal(await count(), 1)
  assert.equal(await count({ knownNodes: 0, waitMs: 60_000, signal }), 1)
  assert.equal(await count({ knownNodes: 1, waitMs: 0, signal }), 1)
})

test('an app whose run has ended is told that its token is void, whatever it was about to push', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId, taskId } = await core.run()
  const backend = createSuperlinkBackend(core.ctx)
  const ended = { runId, taskId } as Task
  const { deflated } = core.instruction(runId, nodeId)
  await core.stop(runId)
  const messages = create(Runtime.method.pushMessages.input, {
    messagesList: [deflated.wire],
    messageObjectTrees: [deflated.tree],
  })
  const calls = [
    backend.pushLogs(ended, { logs: ['late\n'], batch: 0n } as Parameters<typeof backend.pushLogs>[1]),
    backend.pushTaskEvents(ended, { events: [{ event: 'e', data: '{}' }], batch: 0n } as Parameters<
      typeof backend.pushTaskEvents
    >[1]),
    backend.pushMessages(ended, messages),
  ]
  // At once: one that rejects while another is awaited would be an unhandled rejection.
  await Promise.all(calls.map((call) => assert.rejects(call, { code: 'token-invalid' })))
})

test('a held request for nodes ends with its run', async () => {
  await using core = await SuperlinkCore.start()
  await core.join('node')
  const { runId, taskId } = await core.run()
  const signal = new AbortController().signal
  const held = createSuperlinkBackend(core.ctx).getNodes({ runId, taskId } as Task, {
    waitMs: 3_600_000,
    knownNodes: 1,
    signal,
  })
  const ended = assert.rejects(held, { code: 'token-invalid' })
  await core.stop(runId)
  await ended
})

test('an app that fails because every training failed ends with the reason of the first node, too', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  const instruction = core.instruction(runId, await core.join('node'))
  await core.push(runId, [instruction])
  await core.claim(instruction.metadata.dstNodeId as Parameters<typeof core.claim>[0])
  await core.reply(
    core.replyTo(instruction, { error: { code: errorCodes.clientAppRaisedException, reason: 'no data' } }),
  )
  const backend = createSuperlinkBackend(core.ctx)
  const output = { subStatus: 'failed', details: 'list index out of range' } as Parameters<
    typeof backend.pushTaskOutput
  >[1]
  await backend.pushTaskOutput({ runId, taskId } as Task, output)
  assert.equal(
    (await findRun(core.ctx.db.read, runId))?.task.details,
    'list index out of range (The only reply to train messages was an error: no data)',
  )
})

test('a run whose app no node could load has failed, and one without a good reply completes with the reason', async () => {
  const broken = { code: errorCodes.loadClientAppException, reason: "Cannot find package 'ms'" }
  const gone = { code: errorCodes.nodeUnavailable, reason: 'offline' }
  const raised = { code: errorCodes.clientAppRaisedException, reason: 'It broke.' }
  // Flower 1.41 has no code of its own for that.
  const unimported = { ...raised, reason: "<class 'ModuleNotFoundError'>:<'No module named 'ms''>" }
  const words = "No SuperNode could load the app. The first one said: Cannot find package 'ms'"
  const ends: readonly (readonly [readonly (MessageError | undefined)[], string, string])[] = [
    [[broken, broken], 'failed', words],
    [[broken, gone], 'failed', words],
    [[broken, unimported], 'failed', words],
    [[unimported], 'failed', words.replace("Cannot find package 'ms'", unimported.reason)],
    [[unimported, undefined], 'completed', ''],
    [[broken, undefined], 'completed', ''],
    [[], 'completed', ''],
    // Apps of Flower expect such a run to be completed: its details say that it has achieved nothing.
    [[broken, raised], 'completed', "All 2 replies to train messages were errors, the first: Cannot find package 'ms'"],
    [[gone, gone], 'completed', 'All 2 replies to train messages were errors, the first: offline'],
    [[raised], 'completed', 'The only reply to train messages was an error: It broke.'],
  ]
  for (const [errors, subStatus, details] of ends) {
    await using core = await SuperlinkCore.start()
    const { runId, taskId } = await core.run()
    const backend = createSuperlinkBackend(core.ctx)
    for (const [index, error] of errors.entries()) {
      const nodeId = await core.join(`node-${index}`)
      const instruction = core.instruction(runId, nodeId)
      await core.push(runId, [instruction])
      await core.claim(nodeId)
      await core.reply(core.replyTo(instruction, error ? { error } : {}))
    }
    const output = { subStatus: 'completed', details: '' } as Parameters<typeof backend.pushTaskOutput>[1]
    await backend.pushTaskOutput({ runId, taskId } as Task, output)
    const run = await findRun(core.ctx.db.read, runId)
    assert.deepEqual([run?.task.subStatus, run?.task.details], [subStatus, details])
    assert.equal(core.ctx.progress.outcomes.findLoadFailure(runId), undefined, 'forgotten')
  }
})

test('a run whose replies were announced and did not come whole says that all were errors, each counted once', async () => {
  const raised = { code: errorCodes.clientAppRaisedException, reason: 'It broke.' }
  // Each node announces a reply, and sends its objects or not.
  const cases: readonly (readonly [replies: readonly { error?: MessageError; isWhole: boolean }[], details: RegExp])[] =
    [
      [[{ isWhole: false }], /^The only reply to train messages was an error: Error: Message Unavailable/],
      [[{ isWhole: false }, { error: raised, isWhole: false }], /^All 2 replies to train messages were errors/],
      [[{ isWhole: true }, { error: raised, isWhole: false }, { isWhole: false }], /^$/],
    ]
  for (const [replies, details] of cases) {
    await using core = await SuperlinkCore.start()
    const { runId, taskId } = await core.run()
    const work = []
    for (const [index, reply] of replies.entries())
      work.push({ ...reply, asked: core.instruction(runId, await core.join(`node-${index}`), { ttl: 30 }) })
    await core.push(
      runId,
      work.map(({ asked }) => asked),
    )
    for (const { asked, error, isWhole } of work) {
      await core.claim(asked.metadata.dstNodeId as NodeId)
      await core.reply(core.replyTo(asked, error ? { error } : {}), { upload: isWhole })
    }
    const missing = work.filter(({ isWhole }) => !isWhole).map(({ asked }) => asked.messageId)
    core.clock.advance(31_000)
    await core.collect(runId, missing)
    const counts = { asked: replies.length, replied: replies.length, failed: missing.length }
    assert.deepEqual(core.ctx.progress.of(runId), counts)
    const backend = createSuperlinkBackend(core.ctx)
    const output = { subStatus: 'completed', details: '' } as Parameters<typeof backend.pushTaskOutput>[1]
    await backend.pushTaskOutput({ runId, taskId } as Task, output)
    assert.match((await findRun(core.ctx.db.read, runId))?.task.details ?? '-', details)
  }
})

test('each release asks for every message in its way, and one that names messages receives replies alone', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId, token } = await core.run()
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await core.claim(nodeId)
  const note = core.unprompted(runId, nodeId)
  await core.sendUnprompted(note)
  const { tasks, clock } = core.ctx
  const backend = createSuperlinkBackend(core.ctx)
  const client = new InMemoryClient([createRuntimeService({ tasks, clock, backend, checkSuperexec: async () => {} })])
  const pull = async (request: MessageInitShape<typeof Runtime.method.pullMessages.input>, version = '1.41.0') => {
    const headers = { 'flwr-task-token': token, 'flwr-package-version': version }
    const { messagesList } = await client.call(Runtime.method.pullMessages, request, { headers, waitMs: 0 })
    return messagesList.map(({ metadata }) => metadata?.messageId)
  }
  const messageIds = [asked.messageId]
  assert.deepEqual(await pull({ messageIds }), [])
  assert.deepEqual(await pull({}), [], 'up to 1.42 that names no message')
  assert.deepEqual(await pull({ replyToMessageIds: { vals: messageIds } }, '1.43.0'), [])
  assert.deepEqual(await pull({}, '1.43.0'), [note.messageId])
  assert.deepEqual(await pull({ messageIds, wantsAll: true }), [note.messageId], 'our own apps')
})
