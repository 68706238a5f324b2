import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { sql } from 'kysely'
import { letPass } from '../../test/harness/fake-clock.ts'
import { SuperlinkCore, settled } from '../../test/harness/superlink-core.ts'
import { DomainError } from '../base/errors.ts'
import { SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'
import { ObjectFiles } from '../objects/object-files.ts'
import { expireNodes, heartbeat, prolongOnline } from './nodes/nodes.ts'
import { prolongLeases } from './prolong-leases.ts'
import { appendLog, followLog } from './runs/logs.ts'

const minute = 60_000
const beatMs = 30_000
const noWait = { waitMs: 0, signal: new AbortController().signal }

/** A SuperLink with a node and a run, whose database can be made full: SQLite itself refuses to grow then. */
async function setUp() {
  const disk = { hasRoom: false }
  const core = await SuperlinkCore.start({ hasRoom: async () => disk.hasRoom })
  const nodeId = await core.join('node')
  const run = await core.run()
  const pageCount = (pages: number) =>
    core.ctx.db.transaction((tx) => sql.raw(`PRAGMA max_page_count = ${pages}`).execute(tx))
  const stop = new AbortController()
  const watched = core.ctx.room.watch(async () => {
    await core.ctx.tasks.recover('paused')
    await prolongOnline(core.ctx)
  }, stop.signal)
  return {
    ...{ core, ctx: core.ctx, nodeId, run, disk },
    fill: () => pageCount(1),
    makeRoom: async () => {
      disk.hasRoom = true
      await pageCount(1_000_000)
    },
    /** Writes until a page is missing. */
    writeMuch: () =>
      appendLog(
        core.ctx,
        run.runId,
        Array.from({ length: 200 }, () => 'x'.repeat(1000)),
      ),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watched
      await core[Symbol.asyncDispose]()
    },
  }
}

test('a full disk is reported once a minute with its folder and the remedy, and its end too', async () => {
  await using world = await setUp()
  const { core, ctx } = world
  const reports = () => core.lines.filter((line) => line.includes('disk that holds'))
  assert.equal(ctx.room.trouble, undefined)
  await world.fill()
  for (let tries = 0; tries < 3; tries++) await assert.rejects(world.writeMuch(), { code: 'storage-full' })
  assert.equal(ctx.room.trouble, 'The disk that holds /data is full: free some space on it.')
  assert.deepEqual(reports(), [`error ${ctx.room.trouble} Until then nothing can be stored, and runs wait.`])
  const since = core.clock.now()
  await letPass(core.clock, 'a minute', () => reports().length === 2)
  assert.ok(core.clock.now() - since >= minute)
  await world.makeRoom()
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  assert.match(reports().at(-1) ?? '', /^info There is room again on the disk that holds \/data: work goes on$/)
  await world.writeMuch()
})

test('while the disk is full, nodes and apps stay, reads work, and refused calls can be repeated', async () => {
  await using world = await setUp()
  const { core, ctx, nodeId, run } = world
  const pushed = core.instruction(run.runId, nodeId)
  await core.push(run.runId, [pushed])
  const late = core.instruction(run.runId, nodeId, { bytes: 12_000 })
  await world.fill()
  await assert.rejects(world.writeMuch(), { code: 'storage-full' })
  const many = Array.from({ length: 60 }, () => core.instruction(run.runId, nodeId, { bytes: 12_000 }))
  await assert.rejects(core.push(run.runId, many, { upload: false }), { code: 'storage-full' })
  for (let minutes = 0; minutes < 10; minutes++) {
    core.clock.advance(minute)
    await expireNodes(ctx)
  }
  assert.equal(await heartbeat(ctx, nodeId, beatMs), true)
  assert.equal(await ctx.tasks.heartbeat(run.taskId, noWait), true)
  assert.equal((await ctx.tasks.findByToken(run.token))?.taskId, run.taskId, 'the app keeps its token')
  assert.deepEqual(
    (await ctx.runNodes.listReachable(run.runId)).map((node) => node.nodeId),
    [nodeId],
  )
  assert.deepEqual(await core.collect(run.runId, [pushed.messageId]), [], 'no reply says that the node is gone')

  await world.makeRoom()
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  core.clock.advance(beatMs)
  await expireNodes(ctx)
  assert.deepEqual(
    (await ctx.runNodes.listReachable(run.runId)).map((node) => node.nodeId),
    [nodeId],
  )
  assert.equal((await ctx.tasks.findByToken(run.token))?.taskId, run.taskId, 'it has a whole lease again')
  assert.deepEqual((await core.push(run.runId, [late])).messageIds, [late.messageId])
  assert.equal((await core.claim(nodeId))?.metadata.messageId, pushed.messageId)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, late.messageId)
})

test('the log stream of a run says that the disk is full, and that it has room again', async () => {
  await using world = await setUp()
  const { core, ctx, run } = world
  await appendLog(ctx, run.runId, ['before\n'])
  await world.fill()
  await assert.rejects(world.writeMuch(), { code: 'storage-full' })
  const parts = followLog(ctx, run.runId, 0, noWait.signal)
  const first = (await parts.next()).value
  assert.equal(
    first?.logOutput,
    'before\n\n[The disk of the SuperLink is full: this run waits until its operator has freed some space]\n',
    'one part, because `flwr log --show` reads one',
  )
  await world.makeRoom()
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  const second = (await parts.next()).value
  assert.equal(second?.logOutput, '\n[The disk of the SuperLink has room again: this run goes on]\n')
  assert.equal(second?.latestTimestamp, first?.latestTimestamp, 'what is logged next comes after it')
  await parts.return(undefined)
})

test('an object that finds no room is refused, and kept when it is sent again', async () => {
  await using world = await setUp()
  const { core, ctx, nodeId, run, disk } = world
  const asked = core.instruction(run.runId, nodeId, { bytes: 1_000_000 })
  await core.push(run.runId, [asked], { upload: false })
  const write = mock.method(ObjectFiles.prototype, 'keep', async () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  })
  await assert.rejects(core.upload(asked), { code: 'storage-full' })
  assert.equal(ctx.room.trouble, 'The disk that holds /data/objects is full: free some space on it.')
  write.mock.restore()
  disk.hasRoom = true
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  assert.ok((await core.upload(asked)).includes('stored'))
})

test('counts of traffic that find no room are written later', async () => {
  await using world = await setUp()
  const { ctx, run } = world
  const runRow = () =>
    ctx.db.read.selectFrom('run').select('bytes_sent').where('run_id', '=', run.runId).executeTakeFirstOrThrow()
  const transaction = mock.method(ctx.db, 'transaction', () => Promise.reject(new DomainError('storage-full')))
  ctx.traffic.add(run.runId, { sent: 7 })
  await ctx.traffic.flush()
  transaction.mock.restore()
  assert.equal(Number((await runRow()).bytes_sent), 0)
  await ctx.traffic.flush()
  assert.equal(Number((await runRow()).bytes_sent), 7)
})

/** A simulation with one node, and its watch of the disk: SQLite finds no room at each such change until there is some. */
async function simulate(change: string) {
  const disk = { hasRoom: false }
  const core = await SuperlinkCore.start({ simulatedCpus: 1, hasRoom: async () => disk.hasRoom })
  const { ctx } = core
  const run = (statement: string) => ctx.db.transaction((tx) => sql.raw(statement).execute(tx))
  await run('CREATE TABLE filler (bytes)')
  await run(`CREATE TRIGGER fill AFTER ${change} BEGIN INSERT INTO filler VALUES (zeroblob(100000000)); END`)
  await run('PRAGMA max_page_count = 10000')
  const stop = new AbortController()
  const watched = ctx.room.watch(() => prolongLeases(ctx), stop.signal)
  const simulation = create(SimulationConfigSchema, { numSupernodes: 1 })
  const { runId } = await core.run({ simulation })
  const [node] = await ctx.runNodes.listReachable(runId)
  return {
    ...{ core, ctx },
    push: (ttl: number) => core.push(runId, [core.instruction(runId, node?.nodeId ?? 0n, { ttl })]),
    acquire: () => ctx.tasks.acquire({ types: ['flwr-clientapp'], ...noWait }),
    isFull: () => letPass(core.clock, 'a full disk', () => ctx.room.isFull, 0),
    makeRoom: async () => {
      await run('DROP TRIGGER fill')
      disk.hasRoom = true
      await letPass(core.clock, 'the end', () => !ctx.room.isFull)
      await settled()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watched
      await core[Symbol.asyncDispose]()
    },
  }
}

test('a simulated run whose ClientApp finds no room when it is to start goes on when there is room', async () => {
  await using simulated = await simulate("INSERT ON task WHEN NEW.type = 'flwr-clientapp'")
  await simulated.push(3600)
  await simulated.isFull()
  assert.equal(await simulated.acquire(), undefined)
  await simulated.makeRoom()
  assert.ok(await simulated.acquire())
})

test('a ClientApp whose message expires while the disk is full is ended when there is room', async () => {
  await using simulated = await simulate("UPDATE ON task WHEN NEW.status = 'finished'")
  const { ctx, push, acquire } = simulated
  await push(0.05)
  await settled()
  const app = await acquire()
  assert.ok(app)
  await simulated.isFull()
  assert.equal(await ctx.tasks.heartbeat(app.task.taskId, noWait), true)
  await simulated.makeRoom()
  assert.equal(await ctx.tasks.heartbeat(app.task.taskId, noWait), false)
  await push(3600)
  await settled()
  assert.ok(await acquire(), 'its node works again')
})
