import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { writeApp } from '../../../test/harness/write-app.ts'
import { type NodeId, type RunId, superlinkNodeId } from '../../base/ids.ts'
import { inMemory, openDatabase } from '../../db/database.ts'
import { buildFab } from '../../fab/bundle.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'
import { deflateMessage } from '../../message/deflate.ts'
import { Message } from '../../message/message.ts'
import { RecordDict } from '../../message/records.ts'
import { createObjectStore } from '../../objects/object-store.ts'
import { Tasks } from '../../tasks/tasks.ts'
import { Participants } from '../access/participants.ts'
import { createBells, type SuperlinkContext } from '../context.ts'
import { CheckedReplies } from '../delivery/checked-replies.ts'
import { Claims } from '../delivery/claims.ts'
import { collectReplies } from '../delivery/collect-replies.ts'
import { pushInstructions } from '../delivery/instructions.ts'
import { complete } from '../delivery/life.ts'
import { PassingReplies } from '../delivery/passing-replies.ts'
import { EventLog } from '../events/event-log.ts'
import { defaultQuotas } from '../quotas/config-quotas.ts'
import { Quotas } from '../quotas/quotas.ts'
import { CheckpointUploads } from '../runs/checkpoint-pieces.ts'
import { onTaskFinished, stopRun } from '../runs/finish.ts'
import { RunProgress } from '../runs/progress.ts'
import { startRun } from '../runs/start.ts'
import { Traffic } from '../runs/traffic.ts'
import { VirtualFleet } from './virtual-fleet.ts'

const machine = { cpus: 4, gpus: 0 }
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A SuperLink without listeners, whose ClientApps are this test. */
async function setUp() {
  const stack = new AsyncDisposableStack()
  const directory = mkdtempSync(join(tmpdir(), 'trellis-fleet-'))
  stack.defer(() => rmSync(directory, { recursive: true }))
  const db = stack.use(openDatabase({ path: inMemory }))
  const clock = new FakeClock(Date.now())
  const { log } = recordingLogger()
  const fleet = new VirtualFleet(() => ctx, db.read, machine)
  const onFinished: ConstructorParameters<typeof Tasks>[0]['onFinished'] = (...end) => onTaskFinished(ctx, ...end)
  const bells = createBells()
  const ctx = {
    ...{
      db,
      clock,
      log,
      bells,
      events: new EventLog({ db, clock, bells, hasWebhook: false }),
      progress: new RunProgress(),
      passingReplies: new PassingReplies(),
      participants: new Participants(db),
      checkedReplies: new CheckedReplies(),
      checkpointUploads: new CheckpointUploads(),
      traffic: new Traffic(db),
      quotas: new Quotas({ db, clock, limits: defaultQuotas }),
    },
    objects: await createObjectStore({
      ...{ db, durable: false, directory: join(directory, 'objects') },
      onStored: (...stored) => complete({ bells, runNodes: fleet }, ...stored),
    }),
    tasks: new Tasks({ db, clock, log, onFinished }),
    runNodes: fleet,
    simulation: { fleet, machine },
    claims: new Claims(() => ctx),
  } as unknown as SuperlinkContext
  const stop = new AbortController()
  const job = fleet.run(stop.signal)
  stack.defer(async () => {
    stop.abort()
    await job
  })
  const fab = buildFab(writeApp(join(directory, 'fleetapp'), { server: '', client: '' })).bytes
  const signal = stop.signal

  const run = async (settings: { numSupernodes: number; clientResourcesNumCpus?: number }): Promise<RunId> => {
    const simulation = create(SimulationConfigSchema, settings)
    const owner = { id: 'me', name: 'me', organization: '' }
    const { runId } = await startRun(ctx, { fab, overrides: {}, federation: '@none/default', owner, simulation })
    const primary = await ctx.tasks.acquire({ types: ['flwr-serverapp'], waitMs: 0, signal })
    assert.ok(primary)
    await ctx.tasks.activate(primary.task.taskId)
    return runId
  }
  const messagesTo = (runId: RunId, nodeIds: readonly bigint[], ttl = 60) =>
    nodeIds.map((dstNodeId, index) => {
      const message = Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId, ttl })
      const metadata = { ...message.metadata, createdAt: clock.now() / 1000 - index / 1000 }
      const { messageId, tree, objects } = deflateMessage(message, { ...metadata, runId, srcNodeId: superlinkNodeId })
      const stored = { metadata: { ...metadata, runId, srcNodeId: superlinkNodeId, messageId }, error: undefined, tree }
      return { stored, objects: [...objects].map(([id, bytes]) => [id, bytes()] as const) }
    })
  const ask = async (...about: Parameters<typeof messagesTo>): Promise<string[]> => {
    const messages = messagesTo(...about)
    const { messageIds } = await push(about[0], messages)
    for (const [id, bytes] of messages.flatMap(({ objects }) => objects)) await ctx.objects.put(id, bytes)
    await settle()
    return messageIds
  }
  const push = (runId: RunId, messages: ReturnType<typeof messagesTo>) =>
    pushInstructions(
      ctx,
      runId,
      messages.map(({ stored }) => stored),
    )
  /** As a SuperExec does: takes every ClientApp task that there is. */
  const launch = async () => {
    const works = []
    for (;;) {
      const acquired = await ctx.tasks.acquire({ types: ['flwr-clientapp'], waitMs: 0, signal })
      if (!acquired) return works
      await ctx.tasks.activate(acquired.task.taskId)
      const { nodeId, runId } = fleet.workOf(acquired.task.taskId) ?? {}
      works.push({ taskId: acquired.task.taskId, nodeId: nodeId as NodeId, runId })
    }
  }
  const fail = async (taskId: Awaited<ReturnType<typeof launch>>[number]['taskId']): Promise<void> => {
    await db.transaction(async (tx, afterCommit) => {
      await ctx.tasks.finish(tx, afterCommit, taskId, 'failed', 'It broke.')
    })
    await settle()
  }
  const replies = (runId: RunId, ids: string[]) => collectReplies(ctx, runId, ids, { waitMs: 0, signal, all: false })
  const nodesOf = async (runId: RunId) => (await fleet.listReachable(runId)).map(({ nodeId }) => nodeId)
  return {
    ctx,
    clock,
    run,
    ask,
    messagesTo,
    push,
    launch,
    fail,
    replies,
    nodesOf,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

test('as many nodes work at a time as there are processors, and each answers, whatever becomes of its ClientApp', async () => {
  await using simulated = await setUp()
  const { run, ask, launch, fail, replies, nodesOf } = simulated
  const runId = await run({ numSupernodes: 10 })
  const ids = await ask(runId, await nodesOf(runId))
  const worked = new Set<bigint>()
  let works = await launch()
  assert.equal(works.length, machine.cpus)
  while (works.length > 0) {
    const [first, ...rest] = works
    worked.add(first?.nodeId ?? 0n)
    await fail(first?.taskId as NonNullable<typeof first>['taskId'])
    works = [...rest, ...(await launch())]
    assert.ok(works.length <= machine.cpus)
  }
  assert.equal(worked.size, 10)
  const answers = await replies(runId, ids)
  assert.deepEqual(
    answers.map(({ error }) => error?.reason),
    Array(10).fill('ClientApp stopped responding. It broke.'),
  )
  assert.deepEqual(new Set(answers.map(({ metadata }) => metadata.srcNodeId)), worked)
})

test('a ClientApp starts when every object of its message is there', async () => {
  await using simulated = await setUp()
  const { ctx, run, messagesTo, push, launch, nodesOf } = simulated
  const runId = await run({ numSupernodes: 1 })
  const messages = messagesTo(runId, await nodesOf(runId))
  await push(runId, messages)
  for (const [id, bytes] of messages[0]?.objects ?? []) {
    await settle()
    assert.deepEqual(await launch(), [])
    await ctx.objects.put(id, bytes)
  }
  await settle()
  assert.equal((await launch()).length, 1)
})

test('a node works on one message at a time, and messages to unknown nodes are refused', async () => {
  await using simulated = await setUp()
  const { run, ask, launch, fail, nodesOf } = simulated
  const runId = await run({ numSupernodes: 2 })
  const [node = 0n, other = 0n] = await nodesOf(runId)
  const ids = await ask(runId, [node, node, 5n, other])
  assert.deepEqual(
    ids.map((id) => id === ''),
    [false, false, true, false],
  )
  const works = (await launch()).sort((a) => (a.nodeId === node ? -1 : 1))
  assert.deepEqual(
    works.map(({ nodeId }) => nodeId),
    [node, other],
  )
  await fail(works[1]?.taskId as NonNullable<(typeof works)[number]>['taskId'])
  assert.deepEqual(await launch(), [])
  await fail(works[0]?.taskId as NonNullable<(typeof works)[number]>['taskId'])
  assert.deepEqual(
    (await launch()).map(({ nodeId }) => nodeId),
    [node],
  )
})

test('two runs share the machine, and a run whose ClientApps are larger has fewer of them', async () => {
  await using simulated = await setUp()
  const { run, ask, launch, fail, nodesOf } = simulated
  const small = await run({ numSupernodes: 20 })
  const large = await run({ numSupernodes: 20, clientResourcesNumCpus: 2 })
  await ask(small, await nodesOf(small))
  const first = await launch()
  assert.equal(first.length, 4)
  await ask(large, await nodesOf(large))
  assert.deepEqual(await launch(), [])
  for (const { taskId } of first) await fail(taskId)
  const then = await launch()
  assert.deepEqual(then.map(({ runId }) => runId === large).sort(), [false, false, true])
})

test('a ClientApp that works when its message expires is ended', async () => {
  await using simulated = await setUp()
  const { ctx, run, ask, launch, nodesOf } = simulated
  const runId = await run({ numSupernodes: 1 })
  await ask(runId, await nodesOf(runId), 2)
  const [work] = await launch()
  assert.ok(work)
  const alive = await ctx.tasks.heartbeat(work.taskId, { waitMs: 60_000, signal: new AbortController().signal })
  assert.equal(alive, false)
  assert.equal(ctx.simulation?.fleet.workOf(work.taskId), undefined)
})

test('when a run is stopped its ClientApps end, and what it had is forgotten', async () => {
  await using simulated = await setUp()
  const { ctx, run, ask, launch, nodesOf } = simulated
  const runId = await run({ numSupernodes: 6 })
  await ask(runId, await nodesOf(runId))
  const works = await launch()
  await stopRun(ctx, runId)
  await settle()
  for (const { taskId } of works)
    assert.equal(await ctx.tasks.heartbeat(taskId, { waitMs: 0, signal: new AbortController().signal }), false)
  assert.deepEqual(await launch(), [])
  assert.equal(await ctx.tasks.haveWork(), false)
  const left = await ctx.db.read.selectFrom('message').select('message_id').execute()
  assert.deepEqual(left, [])
})
