import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorCatalog } from '../../src/base/error-catalog.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { generateNodeKey, signNodeCall } from '../../src/identity/node-key.ts'
import { formatAddress } from '../../src/rpc/address.ts'
import { createChannel, RpcError } from '../../src/rpc/channel.ts'
import { startListener } from '../../src/rpc/listener.ts'
import { createControlService } from '../../src/superlink/api/control.ts'
import { createFleetService } from '../../src/superlink/api/fleet.ts'
import { createSuperlinkBackend } from '../../src/superlink/api/runtime-backend.ts'
import { createRuntimeService } from '../../src/tasks/runtime-service.ts'
import { emptyFab, SuperlinkCore } from '../harness/superlink-core.ts'

const transports = ['grpc', 'http'] as const

/** The same calls at a SuperLink of their own, one after the other; returns what each came to, without ids. */
async function converse(transport: (typeof transports)[number]): Promise<[string, string][]> {
  await using core = await SuperlinkCore.start()
  const { ctx } = core
  const backend = createSuperlinkBackend(ctx)
  const services = [
    createFleetService(ctx),
    createControlService(ctx),
    createRuntimeService({ tasks: ctx.tasks, clock: ctx.clock, backend, checkSuperexec: async () => {} }),
  ]
  await using listener = await startListener({ name: 'test', address: '127.0.0.1:0', services, log: silentLogger })
  using channel = createChannel({
    ...{ address: formatAddress(listener.address), tls: 'insecure', component: 'test' },
    transport,
  })
  const said: [string, string][] = []
  const note = async <T>(step: string, call: () => Promise<T>, show: (value: T) => unknown = () => 'done') => {
    try {
      const value = await call()
      said.push([step, JSON.stringify(show(value), (_key, one) => (typeof one === 'bigint' ? 'id' : one))])
      return value
    } catch (error) {
      assert.ok(error instanceof RpcError, String(error))
      said.push([step, `${error.kind} ${error.status} ${error.refusalReason ?? '-'}`])
      return undefined
    }
  }
  const key = generateNodeKey()
  const signed = () => signNodeCall(key, core.clock.now())
  const { publicKeyPem: publicKey } = key
  const fleet = Fleet.method
  await note('pull without a signature', () => channel.call(fleet.pullMessages, {}))
  await note('register', async () => channel.call(fleet.registerNode, { publicKey }, await signed()))
  await note('register again', async () => channel.call(fleet.registerNode, { publicKey }, await signed()))
  const joining = { publicKey, heartbeatInterval: 30 }
  const joined = await note('activate', async () => channel.call(fleet.activateNode, joining, await signed()))
  const nodeId = joined?.message.nodeId ?? 0n
  const node = { nodeId }
  const beat = (heartbeatInterval: number) => async () =>
    channel.call(fleet.sendNodeHeartbeat, { node, heartbeatInterval }, await signed())
  await note('heartbeat', beat(30), ({ message }) => message.success)
  await note('heartbeat too fast', beat(1))
  await note('pull as another node', async () =>
    channel.call(fleet.pullMessages, { node: { nodeId: 5n } }, await signed()),
  )
  const pull = async () => channel.call(fleet.pullMessages, { node }, { waitMs: 1, ...(await signed()) })
  await note('pull nothing', pull, ({ message, waited }) => [message.messagesList.length, waited])
  const pullObject = { node, runId: 3n, objectId: '0'.repeat(64) }
  await note('object of no run', async () => channel.call(fleet.pullObject, pullObject, await signed()))

  const control = Control.method
  await note('run nothing', () => channel.call(control.startRun, {}))
  await note('run what is no app', () => channel.call(control.startRun, { fab: { content: Buffer.from('no') } }))
  const started = await note('run', () => channel.call(control.startRun, { fab: { content: emptyFab() } }))
  const runId = started?.message.runId ?? 0n
  await note(
    'list',
    () => channel.call(control.listRuns, {}),
    ({ message }) => Object.keys(message.runDict).length,
  )
  await note('an unknown run', () => channel.call(control.listRuns, { runId: 5n }))
  await note('manage federations', () => channel.call(control.createFederation, {}))

  const runtime = Runtime.method
  await note('task without a token', () => channel.call(runtime.getNodes, {}))
  const types = { supportedTaskTypes: ['flwr-serverapp'] }
  const acquired = await note('acquire', () => channel.call(runtime.acquireTask, types, { waitMs: 1 }))
  const app = { headers: { 'flwr-task-token': acquired?.message.token ?? '' } }
  await note(
    'input',
    () => channel.call(runtime.pullTaskInput, {}, app),
    ({ message }) => message.run?.fabVersion,
  )
  await note('input again', () => channel.call(runtime.pullTaskInput, {}, app))
  await note(
    'nodes',
    () => channel.call(runtime.getNodes, {}, app),
    ({ message }) => message.nodes.length,
  )
  await note('push nothing', () => channel.call(runtime.pushMessages, {}, app))
  const { deflated } = core.instruction(runId as Parameters<typeof core.instruction>[0], nodeId)
  const push = { messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
  await note(
    'push',
    () => channel.call(runtime.pushMessages, push, app),
    ({ message }) => message.objectsToPush.length,
  )
  await note('pull', pull, ({ message }) => message.messagesList.length)

  await note(
    'stop',
    () => channel.call(control.stopRun, { runId }),
    ({ message }) => message.success,
  )
  await note('stop again', () => channel.call(control.stopRun, { runId }))
  await note('push to a stopped run', () => channel.call(runtime.pushMessages, push, app))
  await note('object of a stopped run', async () =>
    channel.call(fleet.pullObject, { ...pullObject, runId }, await signed()),
  )
  return said
}

test('the same calls come to the same over gRPC and over HTTP, errors included', async () => {
  const [grpc = [], http = []] = await Promise.all(transports.map(converse))
  assert.deepEqual(grpc, http)
  const errors = grpc.filter(([, outcome]) => outcome.startsWith('peer '))
  assert.ok(errors.length >= 12, `${errors.length} of ${grpc.length} calls are refused`)
  const statuses = new Set<string>(Object.values(errorCatalog).map(({ status }) => status))
  for (const [step, outcome] of errors) assert.ok(statuses.has(outcome.split(' ')[1] ?? ''), `${step}: ${outcome}`)
})
