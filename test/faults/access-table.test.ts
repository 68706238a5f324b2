import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { type DescMethod, type DescService, type Message, toJsonString } from '@bufbuild/protobuf'
import * as tables from '../../src/access/table.ts'
import { errorText } from '../../src/base/errors.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { ClientAppIo } from '../../src/gen/flwr/proto/clientappio_pb.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { ServerAppIo } from '../../src/gen/flwr/proto/serverappio_pb.ts'
import { type Channel, RpcError } from '../../src/rpc/channel.ts'
import type { AccessRow } from '../../src/rpc/service.ts'
import { appIoClient, appIoOverHttp } from '../harness/appio-client.ts'
import { requestAbout, type Things } from '../harness/foreign-requests.ts'
import { MutualTlsSuperlink } from '../harness/mutual-tls.ts'
import { instructionTo, type Party, TwoRuns } from '../harness/two-runs.ts'
import { writeApp } from '../harness/write-app.ts'

/**
 * Walks the access table: calls every method of every service about the things of another party, and about things that do
 * not exist. Both must end alike, nothing of the other party may change, and nothing of it may be in a response.
 */

/** The services and their tables. ClientAppIo is served where nodes are virtual, and at SuperNodes. */
const services: readonly Walked[] = [
  { desc: Fleet, table: tables.fleetAccess },
  { desc: Control, table: tables.controlAccess },
  { desc: Runtime, table: tables.runtimeAccess },
  { desc: ServerAppIo, table: tables.serverAppIoAccess },
]

interface Walked {
  readonly desc: DescService
  readonly table: Readonly<Record<string, AccessRow>>
}

/** Where a caller may know that the thing is there, the refusal names the reason. */
const explained: Readonly<Record<string, string>> = {
  'Fleet.confirmMessageReceived': 'message-of-another',
  'Runtime.confirmMessageReceived': 'message-of-another',
  'ServerAppIo.confirmMessageReceived': 'message-of-another',
  'ClientAppIo.confirmMessageReceived': 'message-of-another',
  // Every account with a certificate sees the SuperNodes.
  'Control.unregisterNode': 'admin-required',
}

/** One caller of one service. */
interface Caller {
  call(method: DescMethod, request: Message): Promise<Message | undefined>
}

/** A caller of ours: a node or account with a certificate, or the app with a token. */
function throughChannel(channel: Channel, headers: Readonly<Record<string, string>> = {}): Caller {
  const options = { headers, waitMs: 0 }
  return {
    async call(method, request) {
      if (method.methodKind !== 'server_streaming')
        return (await channel.call(method as never, request as never, options)).message
      for await (const part of channel.stream(method as never, request as never, options)) return part
      return undefined
    },
  }
}

/** How a call ends, as text without the ids that were asked for. */
async function outcomeOf(caller: Caller, method: DescMethod, things: Things, others = things): Promise<string> {
  const ids = [things, others].flatMap(({ runId, nodeId, message, objectId, fabHash, taskId }) => [
    ...[runId, nodeId, message.messageId, objectId, fabHash, taskId],
  ])
  const withoutIds = (text: string): string =>
    ids
      .reduce((left: string, id) => left.replaceAll(String(id), '…'), text)
      .replaceAll(/"now":"[^"]*"|"createdAt":[\d.]+|"messageId":"[^"]*"|"objectId":"[^"]*"/g, '')
  try {
    const message = await caller.call(method, requestAbout(method.input, things))
    return message ? withoutIds(toJsonString(method.output, message)) : 'the stream ended'
  } catch (error) {
    return withoutIds(
      `refused: ${error instanceof RpcError ? (error.refusalReason ?? error.message) : errorText(error)}`,
    )
  }
}

/** Everything in the database that belongs to a party, but for the time of the last heartbeat. */
function rowsOf(database: DatabaseSync, { runId, nodeId }: Pick<Party, 'runId' | 'nodeId'>): unknown[] {
  const all = (sql: string, id: bigint): unknown[] => {
    const statement = database.prepare(sql)
    statement.setReadBigInts(true)
    return statement.all(BigInt.asIntN(64, id))
  }
  return [
    ...['run', 'run_log', 'task', 'task_event', 'message'].flatMap((table) =>
      all(`SELECT * FROM ${table} WHERE run_id = ? ORDER BY 1`, runId),
    ),
    ...all(
      `SELECT part.*, available FROM message_object AS part JOIN message USING (message_id) JOIN object USING (object_id)
       WHERE run_id = ? ORDER BY 1, 2`,
      runId,
    ),
    ...all('SELECT node_id, status, identity, organization, owner_aid FROM node WHERE node_id = ?', nodeId),
  ]
}

for (const transport of ['grpc', 'http'] as const) {
  describe(`every row of the access table, over ${transport}`, { concurrency: false }, () => {
    test('no method reads, changes or betrays the things of another party', async () => {
      await using world = await TwoRuns.start({ transport, arguments: (file) => ['--database', file('state.db')] })
      const { alice, bob, deployment } = world
      using database = new DatabaseSync(deployment.file('state.db'), { readOnly: true })
      const instruction = await world.instruct(alice, alice.nodeId)
      const answered = await world.instruct(alice, alice.nodeId, { seed: 1 })
      await world.fetch(alice)
      const reply = await world.reply(alice, answered)
      const foreign = await thingsOf(world, alice)
      const messages = [instruction, reply]
      const before = rowsOf(database, alice)
      assert.ok(before.length > 10, `${before.length} rows`)
      for (const { desc, table } of services) {
        for (const method of desc.methods) {
          const row = table[method.localName] as AccessRow
          // A SuperExec starts the apps of every run.
          if (row.of === 'any-task') {
            assert.equal(row.caller, 'superexec', method.name)
            continue
          }
          const caller = callerOf(world, desc, row, bob)
          const name = `${desc.typeName.split('.').at(-1)}.${method.localName}`
          // With an account's own run a method would rightly do what it does.
          const runIds = row.caller === 'account' ? [alice.runId] : [alice.runId, bob.runId]
          for (const [message, runId] of messages.flatMap((one) => runIds.map((id) => [one, id] as const))) {
            const callerNodeId = row.caller === 'task' ? 1n : bob.nodeId
            const things = { ...foreign, runId, callerNodeId, ...objectOf(message) }
            const unknown = madeUp(things, message, runId === alice.runId)
            const outcome = await outcomeOf(caller, method, things, unknown)
            const missing = await outcomeOf(caller, method, unknown, things)
            const reason = explained[name]
            if (reason !== undefined && outcome !== missing) assert.equal(outcome, `refused: ${reason}`, name)
            else assert.equal(outcome, missing, name)
            assert.doesNotMatch(outcome, /a line of alice/, name)
            assert.deepEqual(rowsOf(database, alice), before, `${name} has changed nothing`)
          }
        }
      }
      // The other way to pose as another caller: the caller claims the other's node.
      for (const method of Fleet.methods.filter(({ input }) =>
        input.fields.some(({ localName }) => /^node/.test(localName)),
      )) {
        const caller = throughChannel(bob.node)
        const claim = { ...foreign, callerNodeId: alice.nodeId, ...objectOf(instruction) }
        assert.equal(await outcomeOf(caller, method, claim), 'refused: node-of-another-identity', method.name)
      }
      // The figures of its traffic are written when someone looks at them.
      await alice.account.call(Control.method.listRuns, {})
      assert.deepEqual(rowsOf(database, alice), before)
    })

    test('a token opens nothing after its task has ended', async () => {
      await using world = await TwoRuns.start({ transport })
      const { bob } = world
      const own = {
        ...(await thingsOf(world, bob)),
        callerNodeId: 1n,
        ...objectOf(await world.instruct(bob, bob.nodeId)),
      }
      await bob.account.call(Control.method.stopRun, { runId: bob.runId })
      for (const { desc, table } of services) {
        for (const method of desc.methods) {
          const row = table[method.localName] as AccessRow
          if (row.caller !== 'task') continue
          const outcome = await outcomeOf(callerOf(world, desc, row, bob), method, own)
          assert.equal(outcome, 'refused: Authentication failed.', `${desc.typeName} ${method.name}`)
        }
      }
    })
  })
}

for (const transport of ['grpc', 'http'] as const) {
  test(`the ClientApp of one virtual node has nothing of another, over Runtime and ClientAppIo and ${transport}`, async () => {
    await using deployment = await MutualTlsSuperlink.start((file) => ['--simulation', '--database', file('state.db')])
    using database = new DatabaseSync(deployment.file('state.db'), { readOnly: true })
    const alice = await startClientApp(deployment, 'alice', 1)
    const bob = await startClientApp(deployment, 'bob', 2)
    const before = rowsOf(database, alice)
    const apps = deployment.connect('main', undefined, transport)
    using overGrpc = appIoClient(deployment, bob.token)
    const appIo = transport === 'grpc' ? overGrpc : appIoOverHttp(deployment, bob.token)
    for (const [desc, table, caller] of [
      [Runtime, tables.runtimeAccess, throughChannel(apps, { 'flwr-task-token': bob.token })],
      [ClientAppIo, tables.clientAppIoAccess, appIo],
    ] as const) {
      // The method that ends the task comes last.
      const last = ({ localName }: DescMethod): number => Number(localName === 'pushAppOutputs')
      for (const method of desc.methods.toSorted((one, other) => last(one) - last(other))) {
        const row = (table as Walked['table'])[method.localName] as AccessRow
        if (row.of === 'any-task') continue
        const things = { ...alice.things, callerNodeId: bob.nodeId }
        const unknown = madeUp(things, things.message, true)
        const outcome = await outcomeOf(caller, method, things, unknown)
        // It ends the task of the caller, whatever it is about: there is no second time.
        const endsTask = desc === ClientAppIo && method.localName === 'pushAppOutputs'
        const missing = endsTask ? '{}' : await outcomeOf(caller, method, unknown, things)
        const name = `${desc.typeName} ${method.name}`
        // A ClientApp has one message, whichever it asks for, and starts once.
        assert.equal(outcome.replace(/"createdAt".*/, ''), missing.replace(/"createdAt".*/, ''), name)
        assert.deepEqual(rowsOf(database, alice), before, `${name} has changed nothing`)
      }
    }
  })
}

test('no service is without a table, and no table without a walk', () => {
  const walked = [...services, { desc: ClientAppIo, table: tables.clientAppIoAccess }]
  assert.deepEqual(new Set(Object.values(tables)), new Set(walked.map(({ table }) => table)))
  for (const { desc, table } of walked)
    assert.deepEqual(Object.keys(table).sort(), desc.methods.map(({ localName }) => localName).sort())
})

function callerOf(world: TwoRuns, desc: DescService, { caller }: AccessRow, by: Party): Caller {
  if (caller === 'task') {
    const { channel, options } = world.appOf(by)
    if (desc === Runtime) return throughChannel(channel, options.headers)
    const { 'flwr-task-token': token = '' } = options.headers
    return world.transport === 'http' ? appIoOverHttp(world.deployment, token) : world.appIoOf(by)
  }
  return throughChannel(caller === 'account' ? by.account : by.node)
}

/** A run of a simulation whose ClientApp is this test. */
async function startClientApp(deployment: MutualTlsSuperlink, name: string, seed: number) {
  const account = deployment.connect('control', (await deployment.ca.issue(name)).issued)
  const apps = deployment.connect('main', undefined)
  const content = buildFab(writeApp(deployment.file('app'), { server: '', client: '' })).bytes
  const overrideFederationConfig = { numSupernodes: 1 }
  const { runId = 0n } = (await account.call(Control.method.startRun, { fab: { content }, overrideFederationConfig }))
    .message
  const acquire = async (type: string) => {
    const { token, task } = (
      await apps.call(Runtime.method.acquireTask, { supportedTaskTypes: [type] }, { waitMs: 20_000 })
    ).message
    const options = { headers: { 'flwr-task-token': token } }
    await apps.call(Runtime.method.pullTaskInput, {}, options)
    return { token, options, taskId: task?.taskId ?? 0n }
  }
  const { options } = await acquire('flwr-serverapp')
  const [node] = (await apps.call(Runtime.method.getNodes, {}, options)).message.nodes
  const nodeId = node?.nodeId ?? 0n
  const message = instructionTo(nodeId, runId, seed)
  const push = { messagesList: [message.wire], messageObjectTrees: [message.tree] }
  await apps.call(Runtime.method.pushMessages, push, options)
  for (const [objectId, bytes] of message.objects) {
    const object = { node: { nodeId: 1n }, runId, objectId, objectContent: bytes() }
    await apps.call(Runtime.method.pushObject, object, options)
  }
  const { token, taskId } = await acquire('flwr-clientapp')
  const ids = { runId, nodeId, taskId, seriesId: 1n, fabHash: 'a'.repeat(64), accountName: name }
  return { runId, nodeId, token, things: { ...ids, ...objectOf(message) } }
}

async function thingsOf(
  world: TwoRuns,
  party: Party,
): Promise<Omit<Things, 'callerNodeId' | 'message' | 'objectId' | 'objectContent'>> {
  const { runDict } = (await party.account.call(Control.method.listRuns, { runId: party.runId })).message
  const run = Object.values(runDict)[0]
  assert.ok(run, world.transport)
  return {
    ...{ runId: party.runId, nodeId: party.nodeId, taskId: run.primaryTaskId ?? 0n, seriesId: run.seriesId },
    ...{ fabHash: run.fabHash, accountName: party.name },
  }
}

/** The message, and of its objects the one that holds the numbers. */
function objectOf(message: Things['message']) {
  const [objectId, bytes] = [...message.objects][0] as [string, () => Uint8Array]
  return { message, objectId, objectContent: bytes() }
}

/** The same question about things that there are not. */
function madeUp(things: Things, message: Things['message'], noRun: boolean): Things {
  const runId = noRun ? things.runId ^ 1n : things.runId
  const unknown = { ...message, messageId: 'e'.repeat(64), tree: { ...message.tree, objectId: 'e'.repeat(64) } }
  const metadata = message.wire.metadata && {
    ...message.wire.metadata,
    ...{ messageId: 'e'.repeat(64), runId: noRun ? message.wire.metadata.runId ^ 1n : message.wire.metadata.runId },
    ...(message.wire.metadata.replyToMessageId === '' ? {} : { replyToMessageId: 'd'.repeat(64) }),
  }
  return {
    ...things,
    ...{ runId, nodeId: things.nodeId ^ 1n, taskId: things.taskId ^ 1n },
    ...{ seriesId: things.seriesId ^ 1n, fabHash: 'c'.repeat(64), accountName: 'nobody' },
    ...{
      objectId: 'e'.repeat(64),
      message: { ...unknown, wire: { ...message.wire, ...(metadata ? { metadata } : {}) } },
    },
  }
}
