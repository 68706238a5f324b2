import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyFab, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { setAdmission } from '../nodes/admission.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { findWait } from './find-wait.ts'
import { followLog } from './logs.ts'
import { findRun } from './run.ts'
import { startRun } from './start.ts'
import { lookAtWaits } from './watch-waits.ts'

const never = new AbortController().signal
const noon = '2026-11-24 12:00:00Z'

async function waitOf({ ctx }: SuperlinkCore, runId: RunId) {
  const run = await findRun(ctx.db.read, runId)
  assert.ok(run)
  return findWait(ctx, run)
}

test('a run that waits for its ServerApp says for which program, since when, and what would help', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const startedAt = clock.now()
  const { runId } = await startRun(ctx, {
    fab: emptyFab(),
    overrides: {},
    federation: '@none/default',
    simulation: undefined,
    owner: { id: 'me', name: 'me', organization: '' },
  })
  assert.equal(await waitOf(core, runId), undefined, 'a SuperExec is about to take it')
  clock.advance(5000)
  const pending = await waitOf(core, runId)
  assert.deepEqual([pending?.kind, pending?.sinceAt], ['superexec', startedAt])
  assert.match(pending?.remedy ?? '', /Start flower-superexec/)

  const acquired = await ctx.tasks.acquireOfRun('flwr-serverapp', runId)
  assert.ok(acquired)
  clock.advance(15_000)
  const starting = await waitOf(core, runId)
  assert.deepEqual([starting?.kind, starting?.what], ['app-start', 'the start of its ServerApp (attempt 1 of 5)'])

  await ctx.tasks.activate(acquired.task.taskId)
  assert.equal(await waitOf(core, runId), undefined)
  clock.advance(45_000)
  const silent = await waitOf(core, runId)
  assert.equal(silent?.kind, 'app')
  assert.match(silent?.remedy ?? '', /^If none arrives, the run fails at 2026-11-24 12:01:20Z\./)

  await core.stop(runId)
  assert.equal(await waitOf(core, runId), undefined)
})

test('a run that waits for replies names the nodes, those first that need help', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const idle = await core.join('idle')
  const working = await core.join('working')
  const silent = await core.join('silent')
  const blocked = await core.join('blocked')
  const quick = await core.join('quick')
  const { runId, taskId } = await core.run()
  const asked = [idle, working, silent, blocked, quick].map((nodeId) => core.instruction(runId, nodeId))
  await core.push(runId, asked)
  await core.claim(working)
  await core.reply(core.replyTo(asked[4] ?? assert.fail()))
  const node = await nodeStore.find(ctx.db.read, blocked)
  await setAdmission(ctx, node ?? assert.fail(), 'blocked')
  clock.advance(40_000)
  for (const nodeId of [idle, working]) await core.beat(nodeId)
  await ctx.tasks.heartbeat(taskId, { waitMs: 0, signal: never })

  const wait = await waitOf(core, runId)
  assert.deepEqual(wait, {
    kind: 'replies',
    what: `4 of 5 replies: node ${silent} is silent since ${noon}, node ${blocked} is blocked, node ${idle} has not fetched its message, node ${working} works on it since ${noon}`,
    sinceAt: Date.parse('2026-11-24T12:00:00Z'),
    remedy:
      'Look whether silent SuperNodes run and reach the SuperLink. Let blocked SuperNodes work again (flwr supernode unblock), or stop the run.',
    nodes: [silent, blocked, idle, working].map((nodeId) => `node ${nodeId}`),
  })
})

test('a run whose ServerApp waits for more SuperNodes says how many there are', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const { runId, taskId } = await core.run()
  const { waits } = ctx.progress
  waits.askedForNodes(runId, clock.now(), false)
  assert.equal(await waitOf(core, runId), undefined, 'an app that asks once has found what it wants')
  clock.advance(3000)
  waits.askedForNodes(runId, clock.now(), false)
  assert.equal((await waitOf(core, runId))?.what, 'more SuperNodes: none is online')
  const nodeId = await core.join('node')
  assert.equal((await waitOf(core, runId))?.what, 'more SuperNodes: one is online')
  const asked = core.instruction(runId, nodeId)
  await core.push(runId, [asked])
  await core.reply(core.replyTo(asked))
  await ctx.tasks.heartbeat(taskId, { waitMs: 0, signal: never })
  assert.equal(await waitOf(core, runId), undefined)
})

test('programs that follow the log of a run learn what it waits for, once, and when it goes on', async () => {
  await using core = await SuperlinkCore.start()
  const { ctx, clock } = core
  const { runId, taskId } = await core.run()
  ctx.progress.waits.askedForNodes(runId, clock.now(), true)
  await lookAtWaits(ctx)
  const parts = followLog(ctx, runId, 0, never)
  const first = parts.next()
  await settled(10)
  clock.advance(limits.waitNoticeMs)
  await lookAtWaits(ctx)
  assert.equal(
    (await first).value?.logOutput,
    `\n[Since ${noon} this run waits for more SuperNodes: none is online. Start more SuperNodes, or let drained and blocked ones work again (flwr supernode unblock).]\n`,
  )
  const second = parts.next()
  await core.join('node')
  await lookAtWaits(ctx)
  await settled(10)
  ctx.progress.waits.foundNodes(runId)
  await ctx.tasks.heartbeat(taskId, { waitMs: 0, signal: never })
  await lookAtWaits(ctx)
  assert.equal((await second).value?.logOutput, '\n[This run continues]\n')
  await parts.return(undefined)
})
