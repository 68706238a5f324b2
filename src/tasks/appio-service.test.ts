import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import type { RunId } from '../base/ids.ts'
import { inMemory, openDatabase } from '../db/database.ts'
import type { Call } from '../rpc/call.ts'
import type { CalledMethod, CallerKind, Service } from '../rpc/service.ts'
import { createClientAppIoService, createServerAppIoService } from './appio-service.ts'
import type { RuntimeBackend } from './runtime-service.ts'
import type { TaskType } from './task.ts'
import { Tasks } from './tasks.ts'

const runId = 7n as RunId

/** Both services over tasks in memory, and a backend that notes what it is told. */
function setUp() {
  const db = openDatabase({ path: inMemory })
  const clock = new FakeClock()
  const tasks = new Tasks({ db, clock, log: recordingLogger().log, onFinished: async () => {} })
  const told: unknown[] = []
  const backend = {
    taskInput: async () => ({ context: { runId }, run: { runId }, fab: { hashStr: 'f' } }),
    findRun: async (id: RunId) => (id === runId ? { runId, primaryTaskType: 'flwr-simulation' } : undefined),
    async pushTaskOutput(task: { taskId: bigint }, output: { subStatus: string; details: string; context?: unknown }) {
      const { subStatus, details, context } = output
      told.push({ subStatus, details, hasContext: context !== undefined })
      await db.transaction(async (tx, afterCommit) => {
        await tasks.finish(tx, afterCommit, task.taskId as Parameters<typeof tasks.finish>[2], 'completed', details)
      })
    },
  } as unknown as RuntimeBackend
  const options = { tasks, backend, clock, checkSuperexec: async () => {} }
  const services = { server: createServerAppIoService(options), client: createClientAppIoService(options) }
  const call = async (
    service: Service,
    method: string,
    request: object,
    tokens: readonly string[] = [],
    waitMs: number | undefined = 0,
  ) => {
    const header = (name: string) => (name === 'flwr-app-token' ? tokens : [])
    const incoming = { header, signal: new AbortController().signal, waitMs } as unknown as Call
    const row = service.access[method] as CalledMethod['row']
    const kind = service.callers[row.caller] as CallerKind<unknown>
    const identified = await kind.identify(incoming, { service: service.desc.typeName, name: method, row })
    const caller = await kind.verify(incoming, identified, request)
    return (service.handlers[method] as (...args: unknown[]) => Promise<unknown>)(request, incoming, caller)
  }
  const create = (type: TaskType) =>
    db.transaction((tx, afterCommit) => tasks.create(tx, afterCommit, { runId, type, fabHash: 'f' }))
  return { ...services, call, create, told, [Symbol.asyncDispose]: () => db.close() }
}

test('a launcher of Flower 1.29 sees runs that wait, gets one token for each, and the type that it knows', async () => {
  await using appio = setUp()
  const { server, client, call, create } = appio
  assert.deepEqual(await call(server, 'listAppsToLaunch', {}), { runIds: [] })
  await create('flwr-serverapp')
  assert.deepEqual(await call(server, 'listAppsToLaunch', {}), { runIds: [runId] })
  assert.deepEqual(await call(client, 'listAppsToLaunch', {}), { runIds: [] })
  assert.deepEqual(await call(client, 'requestToken', { runId }), { token: '' })
  const { token } = (await call(server, 'requestToken', { runId })) as { token: string }
  assert.match(token, /^[0-9a-f]{256}$/)
  assert.deepEqual(await call(server, 'requestToken', { runId }), { token: '' })
  assert.deepEqual(await call(server, 'listAppsToLaunch', {}), { runIds: [] })
  assert.deepEqual(await call(server, 'getRun', { runId }), { run: { runId, primaryTaskType: 'serverapp' } })
  assert.deepEqual(await call(server, 'getRun', { runId: 8n }), {})
})

test('a launcher of Flower 1.29 is answered when there is a run for it, not a second later', async () => {
  await using appio = setUp()
  const { server, call, create } = appio
  const asked = call(server, 'listAppsToLaunch', {}, [], 60_000)
  await create('flwr-serverapp')
  assert.deepEqual(await asked, { runIds: [runId] })
})

test('the token of a ServerApp opens ServerAppIo alone, and only while its task lives', async () => {
  await using appio = setUp()
  const { server, client, call, create } = appio
  await create('flwr-serverapp')
  const { token } = (await call(server, 'requestToken', { runId })) as { token: string }
  const refused = { code: 'token-invalid' }
  for (const tokens of [[], [''], ['x'], [token, token]])
    await assert.rejects(call(server, 'pullAppInputs', {}, tokens), refused)
  await assert.rejects(call(client, 'pullAppInputs', {}, [token]), refused)
  // The app asks again if the response was lost.
  for (let tries = 0; tries < 2; tries++)
    assert.deepEqual(Object.keys((await call(server, 'pullAppInputs', {}, [token])) as object), [
      'context',
      'run',
      'fab',
    ])
  assert.deepEqual(await call(server, 'sendAppHeartbeat', {}, [token]), { success: true })
})

test('a ServerApp hands over its context first and says how it ended later; a ClientApp does both at once', async () => {
  await using appio = setUp()
  const { server, client, call, create, told } = appio
  await create('flwr-serverapp')
  await create('flwr-clientapp')
  const launch = async (service: Service): Promise<string[]> => {
    const { token } = (await call(service, 'requestToken', { runId })) as { token: string }
    await call(service, 'pullAppInputs', {}, [token])
    return [token]
  }
  const serverApp = await launch(server)
  await call(server, 'pushAppOutputs', { context: { runId } }, serverApp)
  assert.deepEqual(told, [])
  await call(server, 'updateRunStatus', { runStatus: { status: 'running', subStatus: '', details: '' } }, serverApp)
  assert.deepEqual(told, [])
  await call(
    server,
    'updateRunStatus',
    { runStatus: { status: 'finished', subStatus: 'completed', details: '' } },
    serverApp,
  )
  await assert.rejects(call(server, 'sendAppHeartbeat', {}, serverApp), { code: 'token-invalid' })
  await call(client, 'pushAppOutputs', { context: { runId } }, await launch(client))
  const end = { subStatus: 'completed', details: '', hasContext: true }
  assert.deepEqual(told, [end, end])
})
