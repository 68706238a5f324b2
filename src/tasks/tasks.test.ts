import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { inMemory, openDatabase } from '../db/database.ts'
import { leaseMs, type Task, type TaskSubStatus, type TaskType } from './task.ts'
import * as taskStore from './task-store.ts'
import { Tasks } from './tasks.ts'

const runId = 7n as RunId
const never = new AbortController().signal

function setUp() {
  const db = openDatabase({ path: inMemory })
  const clock = new FakeClock()
  const ended: Task[] = []
  const tasks = new Tasks({
    db,
    clock,
    log: recordingLogger().log,
    onFinished: async (_tx, _after, task) => void ended.push(task),
  })
  const create = (type: TaskType = 'flwr-serverapp', run = runId): Promise<TaskId> =>
    db.transaction((tx, afterCommit) => tasks.create(tx, afterCommit, { runId: run, type, fabHash: 'f' }))
  const acquire = (waitMs = 0, types: readonly string[] = ['flwr-serverapp']) =>
    tasks.acquire({ types, waitMs, signal: never })
  const finish = (taskId: TaskId, subStatus: TaskSubStatus = 'completed', details = '') =>
    db.transaction((tx, afterCommit) => tasks.finish(tx, afterCommit, taskId, subStatus, details))
  const heartbeat = (taskId: TaskId, waitMs = 0) => tasks.heartbeat(taskId, { waitMs, signal: never })
  const statusOf = async (taskId: TaskId) => (await taskStore.find(db.read, taskId))?.status
  /** The job that ends leases, until the test is over. */
  const watch = () => {
    const stop = new AbortController()
    const job = tasks.watchLeases(stop.signal)
    return {
      async [Symbol.asyncDispose]() {
        stop.abort()
        await job
      },
    }
  }
  const world = { db, clock, tasks, ended, create, acquire, finish, heartbeat, statusOf, watch }
  return { ...world, [Symbol.asyncDispose]: () => db.close() }
}

test('launchers that ask at once get one task each, the oldest first, of the types that they run', async () => {
  await using world = setUp()
  const { create, acquire, clock } = world
  const first = await create()
  clock.advance(1)
  const second = await create()
  await create('flwr-clientapp')
  const acquired = await Promise.all([acquire(), acquire(), acquire()])
  assert.deepEqual(
    acquired.map((one) => one?.task.taskId),
    [first, second, undefined],
  )
  assert.equal(new Set(acquired.map((one) => one?.token)).size, 3)
  assert.equal(await acquire(0, []), undefined)
  assert.ok(await acquire(0, ['flwr-clientapp', 'flwr-agent']))
})

test('a launcher that waits gets the next task, or the news that a run has ended', async () => {
  await using world = setUp()
  const { create, acquire, tasks } = world
  const held = acquire(60_000)
  const taskId = await create()
  assert.equal((await held)?.task.taskId, taskId)
  const endedAfter = tasks.endedRuns.position(0n)
  const waiting = tasks.acquire({ types: ['flwr-serverapp'], waitMs: 60_000, signal: never, endedAfter })
  tasks.endRun(runId)
  assert.equal(await waiting, undefined)
  assert.deepEqual(tasks.endedRuns.since(endedAfter), [runId])
})

test('a token opens its own task while the lease lasts, and is stored as a hash alone', async () => {
  await using world = setUp()
  const { db, clock, tasks, create, acquire } = world
  const taskId = await create()
  const { token = '' } = (await acquire()) ?? {}
  assert.equal((await tasks.findByToken(token))?.taskId, taskId)
  assert.equal(await tasks.findByToken(`${token.slice(1)}0`), undefined)
  const [row] = await db.read.selectFrom('task').selectAll().execute()
  assert.ok(row && !Object.values(row).includes(token))
  clock.advance(leaseMs.starting)
  assert.equal(await tasks.findByToken(token), undefined)
})

test('a task is activated once, lives by its heartbeats, and is gone for its app when it has finished', async () => {
  await using world = setUp()
  const { clock, tasks, create, acquire, finish, heartbeat, ended } = world
  const taskId = await create()
  assert.equal(await tasks.activate(taskId), false, 'it was not handed out')
  assert.equal(await heartbeat(taskId), false)
  const { token = '' } = (await acquire()) ?? {}
  assert.equal(await finish(taskId), false, 'only what runs can complete')
  assert.equal(await tasks.activate(taskId), true)
  assert.equal(await tasks.activate(taskId), false)
  for (let beat = 0; beat < 3; beat++) {
    clock.advance(leaseMs.running - 1)
    assert.equal(await heartbeat(taskId), true)
  }
  assert.ok(await tasks.findByToken(token))
  assert.equal(await finish(taskId, 'completed', 'well'), true)
  assert.equal(await finish(taskId, 'failed'), false, 'a task ends once')
  assert.equal(await tasks.findByToken(token), undefined)
  assert.equal(await heartbeat(taskId), false)
  await assert.rejects(
    world.db.transaction((tx) => tasks.ensureOpen(tx, taskId)),
    { code: 'token-invalid' },
  )
  assert.deepEqual(
    ended.map(({ subStatus, details }) => [subStatus, details]),
    [['completed', 'well']],
  )
})

test('an app that holds its heartbeat hears of the end of its task at once', async () => {
  await using world = setUp()
  const { tasks, create, acquire, finish, heartbeat } = world
  const taskId = await create()
  await acquire()
  await tasks.activate(taskId)
  const held = heartbeat(taskId, 60_000)
  await finish(taskId, 'stopped')
  assert.equal(await held, false)
})

test('an app that does not come up is launched again a few times, then its task fails', async () => {
  await using world = setUp()
  const { clock, create, acquire, ended, watch } = world
  await using _watched = watch()
  await create()
  for (let launch = 1; launch <= limits.taskLaunchesMax; launch++) {
    const acquired = await acquire(60_000)
    assert.equal(acquired?.task.launches, launch - 1)
    clock.advance(leaseMs.starting)
    // Wakes the watch, as any change of a lease does.
    await create('flwr-clientapp').then(() => acquire(0, ['flwr-clientapp']))
  }
  while (ended.length === 0) await new Promise(setImmediate)
  assert.match(ended[0]?.details ?? '', /did not come up in 5 launches/)
  assert.equal(ended[0]?.subStatus, 'failed')
})

test('an app that goes silent has failed at the moment when its lease ended', async () => {
  await using world = setUp()
  const { clock, tasks, create, acquire, ended, watch } = world
  const taskId = await create()
  await acquire()
  await tasks.activate(taskId)
  const endsAt = clock.now() + leaseMs.running
  clock.advance(leaseMs.running + 5000)
  await using _watched = watch()
  while (ended.length === 0) await new Promise(setImmediate)
  assert.deepEqual(
    ended.map(({ taskId: id, details, finishedAt }) => ({ id, details, finishedAt })),
    [{ id: taskId, details: 'No heartbeat received from the task', finishedAt: endsAt }],
  )
})

for (const [apps, running, starting] of [
  ['ended', 'finished', 'pending'],
  ['may-live', 'running', 'starting'],
] as const) {
  test(`after a restart of a server whose apps ${apps === 'ended' ? 'ended with it' : 'may still live'}, running tasks are ${running} and starting ones ${starting}`, async () => {
    await using world = setUp()
    const { clock, tasks, create, acquire, statusOf, ended } = world
    const up = await create()
    await acquire()
    await tasks.activate(up)
    const coming = await create()
    await acquire()
    const waiting = await create()
    clock.advance(leaseMs.running * 10)
    await tasks.recover(apps)
    assert.deepEqual(await Promise.all([up, coming, waiting].map(statusOf)), [running, starting, 'pending'])
    assert.equal(ended.length, apps === 'ended' ? 1 : 0)
    if (apps === 'ended') assert.match(ended[0]?.details ?? '', /start the run again/)
    else assert.equal(await world.heartbeat(up), true, 'it has a whole lease to come back')
  })
}

test('the end of a run ends its other tasks, and no task of another run', async () => {
  await using world = setUp()
  const { db, tasks, create, statusOf } = world
  const [primary, client, foreign] = [
    await create(),
    await create('flwr-clientapp'),
    await create('flwr-clientapp', 8n as RunId),
  ]
  await db.transaction((tx, afterCommit) => tasks.finishOthers(tx, afterCommit, runId, primary))
  assert.deepEqual(await Promise.all([primary, client, foreign].map(statusOf)), ['pending', 'finished', 'pending'])
  assert.equal(await tasks.haveWork(), true)
  assert.deepEqual(await tasks.listPendingRuns('flwr-clientapp', { waitMs: 0, signal: never }), [8n])
})
