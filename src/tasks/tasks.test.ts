import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { openTestDatabase, settled } from '../../test/harness/test-database.ts'
import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { leaseMs, type Task, type TaskSubStatus, type TaskType } from './task.ts'
import * as taskStore from './task-store.ts'
import { Tasks } from './tasks.ts'

const runId = 5n as RunId

async function setUp() {
  const db = await openTestDatabase()
  const clock = new FakeClock()
  const ends: string[] = []
  const onFinished = async (_tx: unknown, _afterCommit: unknown, task: Task): Promise<void> => {
    ends.push(`${task.subStatus} ${task.details}`.trim())
  }
  const stop = new AbortController()
  const { log, lines } = recordingLogger()
  const tasks = new Tasks({ db, clock, log, onFinished })
  const create = (type: TaskType = 'flwr-clientapp', run = runId): Promise<TaskId> => {
    clock.advance(1)
    return db.transaction((tx, afterCommit) => tasks.create(tx, afterCommit, { runId: run, type, fabHash: 'f' }))
  }
  const finish = (taskId: TaskId, subStatus: TaskSubStatus = 'completed', details = ''): Promise<boolean> =>
    db.transaction((tx, afterCommit) => tasks.finish(tx, afterCommit, taskId, subStatus, details))
  const acquire = (waitMs = 0, more: { endedAfter?: bigint; types?: string[] } = {}) =>
    tasks.acquire({ types: ['flwr-serverapp', 'flwr-clientapp'], waitMs, signal: stop.signal, ...more })
  const statusOf = async (taskId: TaskId) => (await taskStore.find(db.read, taskId))?.status
  return {
    ...{ db, clock, tasks, lines, ends, create, finish, acquire, statusOf, stop },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await db.close()
    },
  }
}

type World = Awaited<ReturnType<typeof setUp>>

async function acquired(world: World): Promise<{ task: Task; token: string }> {
  return (await world.acquire()) ?? assert.fail('no task waits')
}

/** Lets the watch of leases look once, after `ms`. */
async function pass(world: World, ms: number): Promise<void> {
  world.clock.advance(ms)
  const watch = new AbortController()
  const watching = world.tasks.watchLeases(watch.signal)
  await world.db.transaction(async () => {})
  await settled(20)
  watch.abort()
  await watching
}

test('the oldest pending task of the asked types is handed out, once, with a token of its own', async () => {
  await using world = await setUp()
  const first = await world.create()
  world.clock.advance(1)
  const second = await world.create('flwr-serverapp')
  assert.equal(await world.acquire(0, { types: [] }), undefined)
  assert.equal((await world.acquire(0, { types: ['flwr-serverapp'] }))?.task.taskId, second)
  const { task, token } = await acquired(world)
  assert.equal(task.taskId, first)
  assert.equal(await world.acquire(), undefined)
  assert.match(token, /^[0-9a-f]{256}$/)
  assert.equal((await world.tasks.findByToken(token))?.taskId, first)
  assert.equal(await world.tasks.findByToken('x'), undefined)
})

test('several launchers that wait get one task each', async () => {
  await using world = await setUp()
  const waiting = [world.acquire(10_000), world.acquire(10_000), world.acquire(10_000)]
  const created = [await world.create(), await world.create(), await world.create()]
  const got = (await Promise.all(waiting)).map((one) => one?.task.taskId)
  assert.deepEqual(new Set(got), new Set(created))
})

test('a launcher that waits hears of the end of a run, and asks for a run by its id without waiting', async () => {
  await using world = await setUp()
  const endedAfter = world.tasks.endedRuns.position(0n)
  const waiting = world.acquire(10_000, { endedAfter })
  world.tasks.endRun(runId)
  assert.equal(await waiting, undefined)
  assert.deepEqual(world.tasks.endedRuns.news(endedAfter).endedRunIds, [runId])
  await world.create('flwr-clientapp', 6n as RunId)
  assert.equal(await world.tasks.acquireOfRun('flwr-clientapp', runId), undefined)
  assert.equal((await world.tasks.acquireOfRun('flwr-clientapp', 6n as RunId))?.task.runId, 6n)
})

test('a task ends once, and its token with it; until then its app may ask for its input again', async () => {
  await using world = await setUp()
  const taskId = await world.create()
  assert.equal(await world.tasks.activate(taskId), false)
  const { token } = await acquired(world)
  assert.equal(await world.finish(taskId, 'completed'), false, 'only a running task can complete')
  assert.equal(await world.tasks.activate(taskId), true)
  assert.deepEqual(world.lines, [])
  assert.equal(await world.tasks.activate(taskId), true, 'the response to the first call may be lost')
  assert.deepEqual(world.lines, ['warn The input of a running task was asked for again'])
  assert.equal(await world.finish(taskId), true)
  assert.equal(await world.tasks.activate(taskId), false)
  assert.equal(await world.finish(taskId, 'failed', 'later'), false)
  assert.equal(await world.tasks.findByToken(token), undefined)
  assert.deepEqual(world.ends, ['completed'])
  assert.equal(await world.tasks.haveWork(), false)
})

test('a heartbeat that is held hears of the end at once', async () => {
  await using world = await setUp()
  const taskId = await world.create()
  const wait = { waitMs: 10_000, signal: world.stop.signal }
  assert.equal(await world.tasks.heartbeat(taskId, wait), false, 'a pending task has no process')
  await acquired(world)
  const beat = world.tasks.heartbeat(taskId, wait)
  await world.finish(taskId, 'stopped')
  assert.equal(await beat, false)
  assert.equal(await world.tasks.heartbeat(99n as TaskId, wait), false)
})

test('a task that is forgotten when it finishes ends its heartbeats too', async () => {
  await using world = await setUp()
  const taskId = await world.create()
  await acquired(world)
  const beat = world.tasks.heartbeat(taskId, { waitMs: 10_000, signal: world.stop.signal })
  await world.db.transaction(async (tx, afterCommit) => {
    await world.tasks.finish(tx, afterCommit, taskId, 'failed', '')
    await world.tasks.forget(tx, taskId)
  })
  assert.equal(await beat, false)
  assert.equal(await world.statusOf(taskId), undefined)
})

test('a launch that comes to nothing is tried again, and a few times only', async () => {
  await using world = await setUp()
  const taskId = await world.create()
  for (let launch = 1; launch <= limits.taskLaunchesMax; launch++) {
    const { token } = await acquired(world)
    await pass(world, leaseMs.starting - 1)
    assert.equal(await world.statusOf(taskId), 'starting')
    await pass(world, 1)
    assert.equal(await world.tasks.findByToken(token), undefined)
    assert.equal(await world.statusOf(taskId), launch < limits.taskLaunchesMax ? 'pending' : 'finished')
  }
  assert.deepEqual(world.ends, [`failed The app did not come up in ${limits.taskLaunchesMax} launches`])
})

test('a running task lives as long as its heartbeats', async () => {
  await using world = await setUp()
  const taskId = await world.create()
  const { token } = await acquired(world)
  await world.tasks.activate(taskId)
  for (let beat = 0; beat < 3; beat++) {
    await pass(world, leaseMs.running - 1)
    assert.equal(await world.tasks.heartbeat(taskId, { waitMs: 0, signal: world.stop.signal }), true)
  }
  await pass(world, leaseMs.running)
  assert.equal(await world.tasks.findByToken(token), undefined)
  assert.deepEqual(world.ends, ['failed No heartbeat received from the task'])
})

test('after a restart apps of a SuperExec of its own are over, and others get a lease to come back', async () => {
  for (const apps of ['ended', 'restarted', 'paused'] as const) {
    await using world = await setUp()
    const [running, starting, pending] = [await world.create(), await world.create(), await world.create()]
    await acquired(world)
    await world.tasks.activate(running)
    await acquired(world)
    world.clock.advance(10 * leaseMs.running)
    await world.tasks.recover(apps)
    await pass(world, 0)
    const statuses = await Promise.all([running, starting, pending].map(world.statusOf))
    assert.deepEqual(
      statuses,
      apps === 'ended' ? ['finished', 'pending', 'pending'] : ['running', 'starting', 'pending'],
    )
  }
})

test('the other tasks of a run end with it', async () => {
  await using world = await setUp()
  const [own, other, foreign] = [
    await world.create('flwr-serverapp'),
    await world.create(),
    await world.create('flwr-clientapp', 6n as RunId),
  ]
  await world.db.transaction((tx, afterCommit) => world.tasks.finishOthers(tx, afterCommit, runId, own))
  const statuses = await Promise.all([own, other, foreign].map(world.statusOf))
  assert.deepEqual(statuses, ['pending', 'finished', 'pending'])
})
