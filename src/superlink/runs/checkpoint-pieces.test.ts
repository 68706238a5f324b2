import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { type CoreRun, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Database } from '../../db/database.ts'
import { removeForgottenParts } from '../../db/large-values.ts'
import { CheckpointPieceSchema } from '../../gen/flwr/proto/runtime_pb.ts'
import { countDiskBytes } from '../quotas/usage-store.ts'
import * as checkpointStore from './checkpoint-store.ts'
import { findRun } from './run.ts'

const megabyte = 1024 * 1024
const pieceBytes = megabyte
const checkpointBounds = { wholeBytesMax: 100, pieceBytes, bytesMax: 10 * megabyte }

/** The pieces of a checkpoint of this many bytes, which are all this number. */
function piecesOf(bytes: number, fill: number) {
  const whole = new Uint8Array(bytes).fill(fill)
  const sha256 = createHash('sha256').update(whole).digest('hex')
  return Array.from({ length: Math.ceil(bytes / pieceBytes) }, (_, index) => {
    const content = whole.subarray(index * pieceBytes, (index + 1) * pieceBytes)
    return create(CheckpointPieceSchema, { sha256, size: BigInt(bytes), offset: BigInt(index * pieceBytes), content })
  })
}

async function taskOf({ ctx }: SuperlinkCore, { runId }: CoreRun) {
  return (await findRun(ctx.db.read, runId))?.task ?? assert.fail('no run')
}

/** How many values are stored in parts, apart from those that are forgotten. */
async function storedValues({ ctx }: SuperlinkCore): Promise<number> {
  await removeForgottenParts(ctx.db)
  return (await ctx.db.read.selectFrom('part').select('name').distinct().execute()).length
}

/**
 * Loses the response to every other commit, as a PostgreSQL server that cannot be reached for a while: the call is refused,
 * and what follows its commit happens before the next transaction.
 */
function losingResponses(db: Database): Database {
  let late: (() => void)[] = []
  let transactions = 0
  const transaction: Database['transaction'] = async (body) => {
    const isLost = transactions++ % 2 === 0
    for (const effect of late.splice(0)) effect()
    const effects: (() => void)[] = []
    const value = await db.transaction((tx) => body(tx, (effect) => effects.push(effect)))
    if (isLost) {
      late = effects
      throw new DomainError('unavailable', 'The response was lost.')
    }
    for (const effect of effects) effect()
    return value
  }
  return { read: db.read, transaction, close: () => db.close(), [Symbol.asyncDispose]: () => db.close() }
}

test('a checkpoint is stored once although the response to each of its commits is lost', async () => {
  await using core = await SuperlinkCore.start({ checkpointBounds })
  const run = await core.run()
  const ctx = { ...core.ctx, db: losingResponses(core.ctx.db) }
  const task = await taskOf(core, run)
  for (const fill of [1, 2, 3]) {
    const [first, ...others] = piecesOf(3 * megabyte - 100, fill)
    for (const piece of [first ?? assert.fail(), ...others]) {
      const take = (): Promise<number> => ctx.checkpointUploads.take(ctx, task, piece)
      await assert.rejects(take, { code: 'unavailable' })
      const stored = await take().catch((error: DomainError) => {
        // After the last piece there is one more commit.
        assert.equal(error.code, 'unavailable')
        return take()
      })
      assert.equal(stored, Number(piece.offset) + piece.content.length)
    }
    const kept = await core.ctx.db.read.selectFrom('checkpoint').select(['position', 'parts']).execute()
    assert.deepEqual(
      kept.map(({ position }) => position).toSorted(),
      [fill - 1, fill].filter((position) => position > 0),
    )
    assert.equal(new Set(kept.map(({ parts }) => parts)).size, kept.length, 'each has parts of its own')
    assert.equal(await storedValues(core), kept.length)
    const last = await checkpointStore.findContext(core.ctx.db.read, run.runId)
    assert.equal(last?.sha256, first?.sha256, 'it is whole')
  }
})

test('an incomplete checkpoint counts once against the disk quota, and no longer once its ServerApp is lost', async () => {
  let base: number
  {
    await using core = await SuperlinkCore.start()
    await core.run()
    base = await countDiskBytes(core.ctx.db.read)
  }
  const quotas = { disk: base + 5.5 * megabyte }
  await using core = await SuperlinkCore.start({ checkpointBounds, quotas })
  const { ctx, clock } = core
  const run = await core.run()
  const task = await taskOf(core, run)
  const refused = { code: 'quota-reached' }
  await assert.rejects(ctx.checkpointUploads.take(ctx, task, piecesOf(6 * megabyte, 1)[0] ?? assert.fail()), refused)
  assert.equal(await storedValues(core), 0, 'a checkpoint that cannot become whole does not begin')
  // The first one is complete, so that the ServerApp starts again.
  for (const piece of [...piecesOf(100, 1), ...piecesOf(4 * megabyte, 2).slice(0, 3)])
    await ctx.checkpointUploads.take(ctx, task, piece)
  const recount = async (): Promise<void> => {
    clock.advance(limits.quotaCountEveryMs)
    await assert.rejects(ctx.quotas.takeDisk(run.runId, 6 * megabyte), refused)
  }
  await recount()
  using _other = await ctx.quotas.takeDisk(run.runId, megabyte)
  await assert.rejects(ctx.quotas.takeDisk(run.runId, megabyte), refused)

  await ctx.db.transaction((tx, afterCommit) => ctx.tasks.lose(tx, afterCommit, run.taskId, 'ended by SIGKILL'))
  for (let looks = 0; looks < 200 && (await storedValues(core)) > 1; looks++) await settled(10)
  assert.equal(await storedValues(core), 1)
  await recount()
  using _more = await ctx.quotas.takeDisk(run.runId, 3 * megabyte)
})
