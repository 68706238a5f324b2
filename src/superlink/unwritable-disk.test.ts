import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { mock, test } from 'node:test'
import { sql } from 'kysely'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { letPass } from '../../test/harness/fake-clock.ts'
import { SuperlinkCore, settled } from '../../test/harness/superlink-core.ts'
import { ObjectFiles } from '../objects/object-files.ts'
import { expireNodes } from './nodes/nodes.ts'
import { prolongLeases } from './prolong-leases.ts'
import { appendLog } from './runs/logs.ts'

const minute = 60_000

/** A SuperLink with a node and a run, and its watch of the disk. */
async function setUp() {
  const folder = temporaryDirectory()
  const disk = { isWritable: false }
  const core = await SuperlinkCore.start({ folder: folder.path, hasRoom: async () => disk.isWritable })
  const stop = new AbortController()
  let tries = 0
  const end = (): Promise<void> => prolongLeases(core.ctx).finally(() => tries++)
  const watched = core.ctx.room.watch(end, stop.signal)
  const nodeId = await core.join('node')
  const run = await core.run()
  return {
    ...{ core, ctx: core.ctx, run, nodeId, disk, path: join(folder.path, 'state.db') },
    /** How often the watch has tried to end the outage. */
    tries: () => tries,
    write: () => appendLog(core.ctx, run.runId, ['a line\n']),
    /** What must not be lost after a quarter of an hour in which nothing could be stored. */
    async ensureAlive() {
      core.clock.advance(15 * minute)
      await expireNodes(core.ctx)
      assert.ok(await core.ctx.tasks.findByToken(run.token), 'the app keeps its lease')
      assert.equal((await core.ctx.runNodes.listReachable(run.runId)).length, 1, 'the node is online')
    },
    /** Nodes that went silent go offline again. */
    async ensureExpiry() {
      core.clock.advance(15 * minute)
      await expireNodes(core.ctx)
      assert.equal((await core.ctx.runNodes.listReachable(run.runId)).length, 0, 'the node is offline')
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watched
      await core[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

test('while another program locks the database, the operator is told, nothing is lost, and work goes on afterwards', async () => {
  await using world = await setUp()
  const { core, ctx, disk, nodeId } = world
  await ctx.knownNodes.find(nodeId)
  // Otherwise each try would hold up this process for five seconds.
  await ctx.db.transaction((tx) => sql.raw('PRAGMA busy_timeout = 10').execute(tx))
  const other = new DatabaseSync(world.path)
  other.exec('BEGIN IMMEDIATE')
  await assert.rejects(world.write(), {
    code: 'unavailable',
    message: 'The database cannot be written: another program has locked the database: end that program.',
  })
  const trouble =
    'What /data holds cannot be written, because another program has locked the database: end that program.'
  assert.equal(ctx.room.trouble, trouble)
  assert.ok(core.lines.includes(`error ${trouble} Until then nothing can be stored, and runs wait.`))
  await core.beat(nodeId)
  await ctx.knownNodes.flush()
  await world.ensureAlive()
  disk.isWritable = true
  await letPass(core.clock, 'a try', () => world.tries() > 0)
  await settled()
  assert.equal(ctx.room.trouble, trouble, 'it is still locked')
  other.exec('ROLLBACK')
  other.close()
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  assert.match(core.lines.at(-1) ?? '', /^info What \/data holds can be written again: work goes on$/)
  await world.write()
  await world.ensureExpiry()
})

test('a database and a folder that have become read-only are reported with the remedy, and no upload is lost', async () => {
  await using world = await setUp()
  const { core, ctx, disk, run, nodeId } = world
  const asked = core.instruction(run.runId, nodeId, { bytes: 1_000_000 })
  await core.push(run.runId, [asked], { upload: false })
  const write = mock.method(ObjectFiles.prototype, 'keep', async () => {
    throw Object.assign(new Error('EROFS: read-only file system, open'), { code: 'EROFS' })
  })
  try {
    await assert.rejects(core.upload(asked), { code: 'unavailable', message: /it is read-only: mount the file system/ })
  } finally {
    write.mock.restore()
  }
  assert.match(ctx.room.trouble ?? '', /^What \/data\/objects holds cannot be written, because it is read-only: mount/)
  await world.ensureAlive()
  disk.isWritable = true
  await letPass(core.clock, 'the end', () => !ctx.room.isFull)
  assert.ok((await core.upload(asked)).includes('stored'))

  disk.isWritable = false
  await ctx.db.transaction((tx) => sql.raw('PRAGMA query_only = ON').execute(tx))
  await assert.rejects(world.write(), { code: 'unavailable', message: /it is read-only: mount the file system/ })
  assert.match(ctx.room.trouble ?? '', /^What \/data holds cannot be written, because it is read-only: mount/)
})
