import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { create, type DescMethod, type DescService, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import * as tables from '../../src/access/table.ts'
import { type BodyBounds, limits } from '../../src/base/limits.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { ServerAppIo } from '../../src/gen/flwr/proto/serverappio_pb.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { encodeObject, objectId } from '../../src/objects/object-format.ts'
import { objectTree } from '../../src/objects/object-tree.ts'
import { scanBody } from '../../src/rpc/body-scan.ts'
import { type Channel, createChannel } from '../../src/rpc/channel.ts'
import type { AccessRow } from '../../src/rpc/service.ts'
import { Deployment } from '../harness/deployment.ts'
import { Measure, measured } from '../harness/measured-program.ts'
import { joinFleet } from '../harness/mutual-tls.ts'
import { callRaw } from '../harness/raw-call.ts'
import { instructionTo } from '../harness/two-runs.ts'
import { worstBodies } from '../harness/worst-bodies.ts'

const MiB = 1024 * 1024
/** No request may hold the main thread longer, in processor time. */
const turnMsMax = 100
/** What a call costs besides its body: the buffers of a connection, compiled code, garbage that is not collected yet. */
const memoryFloor = 40 * MiB
/** No request may take more memory than so many times its size, its body included. */
const timesItsSize = 3

interface Served {
  readonly desc: DescService
  readonly table: Readonly<Record<string, AccessRow>>
}
const fleet: Served = { desc: Fleet, table: tables.fleetAccess }
const control: Served = { desc: Control, table: tables.controlAccess }
const apps: readonly Served[] = [
  { desc: Runtime, table: tables.runtimeAccess },
  { desc: ServerAppIo, table: tables.serverAppIoAccess },
]

/** A SuperLink in a process of its own, a SuperNode, and the app of a run; all of them are this test. */
class Target {
  readonly deployment: Deployment
  readonly measure: Measure
  readonly control: Channel
  readonly fleet: Channel
  readonly main: Channel
  readonly app: string
  readonly #certificate: { cert: string; key: string }
  nodeId = 0n
  runId = 0n
  token = ''

  constructor(deployment: Deployment, pair: { certificatePem: string; keyPem: string }) {
    const rootsPem = deployment.ca.issued.certificatePem
    const tls = fixedTlsSource({ rootsPem, certificate: { chainPem: pair.certificatePem, keyPem: pair.keyPem } })
    const open = (address: string): Channel => createChannel({ address, transport: 'grpc', component: 'test', tls })
    this.deployment = deployment
    this.measure = new Measure(deployment.superlink)
    this.control = open(deployment.controlAddress)
    this.fleet = open(deployment.fleetAddress)
    this.main = open(deployment.mainAddress)
    this.app = deployment.writeApp({ server: '', client: '' })
    this.#certificate = { cert: pair.certificatePem, key: pair.keyPem }
  }

  get headers(): Record<string, string> {
    return { 'flwr-task-token': this.token, 'flwr-app-token': this.token, 'trellis-wait-ms': '0' }
  }

  /** Starts a run, whose app is this test from here on. */
  async startRun(content = buildFab(this.app).bytes): Promise<void> {
    this.runId = (await this.control.call(Control.method.startRun, { fab: { content } })).message.runId ?? 0n
    await this.launch()
  }

  async launch(): Promise<void> {
    const types = { supportedTaskTypes: ['flwr-serverapp'] }
    this.token = (await this.main.call(Runtime.method.acquireTask, types)).message.token
    await this.main.call(Runtime.method.pullTaskInput, {}, { headers: this.headers })
  }

  /** Calls a method with these bytes; returns how it ended. */
  call(method: DescMethod, body: Uint8Array, options: CallOptions): Promise<string> {
    const { door = 'http', known = true, port = 'main' } = options
    const address = {
      main: this.deployment.mainAddress,
      fleet: this.deployment.fleetAddress,
      control: this.deployment.controlAddress,
    }[port]
    return callRaw(door, {
      ...{ address, ca: this.deployment.ca.issued.certificatePem, method, body },
      certificate: known ? this.#certificate : undefined,
      headers: known ? this.headers : { 'trellis-wait-ms': '0' },
    })
  }

  request<M extends DescMethod>(
    method: M,
    init: MessageInitShape<M['input']>,
    options: CallOptions = {},
  ): Promise<string> {
    return this.call(method, encoded(method, init), options)
  }
}

interface CallOptions {
  readonly door?: 'grpc' | 'http'
  readonly known?: boolean
  readonly port?: 'main' | 'fleet' | 'control'
}

function encoded<M extends DescMethod>(method: M, init: MessageInitShape<M['input']>): Uint8Array {
  return toBinary(method.input, create(method.input, init as never))
}

/** From here on bodies of nothing but fields are beyond every bound. */
const shapeBytesMax = 2 * MiB

/** Of each shape the largest body that passes the scan, and one of twice its size, which does not. */
function worstOf(method: DescMethod, bounds: BodyBounds): (readonly [what: string, body: Uint8Array])[] {
  const worst: (readonly [what: string, body: Uint8Array])[] = []
  const larger = new Map<string, Uint8Array>()
  const passed = new Set<string>()
  for (let bytes = Math.min(bounds.bytesMax - 1000, shapeBytesMax); bytes > 500; bytes = Math.floor(bytes / 2)) {
    for (const [what, body] of worstBodies(method.input, bytes)) {
      if (passed.has(what)) continue
      const refused = larger.get(what)
      larger.set(what, body)
      if (!passes(method, body, bounds)) continue
      passed.add(what)
      worst.push([what, body])
      if (refused) worst.push([`${what}, too much`, refused])
    }
    if (larger.size === passed.size) break
  }
  return worst.toSorted(([, one], [, other]) => other.length - one.length)
}

const isPassing = ([what]: readonly [string, Uint8Array]): boolean => !what.endsWith('too much')

function passes(method: DescMethod, body: Uint8Array, bounds: BodyBounds): boolean {
  try {
    scanBody(method.input, body, bounds)
    return true
  } catch {
    return false
  }
}

describe('a SuperLink under hostile and large requests', { concurrency: false }, () => {
  let target: Target
  const stack = new AsyncDisposableStack()
  let worst = { ms: 0, what: '' }

  before(async () => {
    const deployment = stack.use(
      await Deployment.create({
        mutualTls: true,
        superlinkArguments: ['--isolation', 'process'],
        superlinkEnvironment: measured,
      }),
    )
    target = new Target(deployment, (await deployment.ca.issue('good')).issued)
    for (const channel of [target.control, target.fleet, target.main]) stack.use(channel)
    target.nodeId = await joinFleet(target.fleet)
    await target.startRun()
  })
  after(() => stack.disposeAsync())

  async function checkTurn(what: string): Promise<void> {
    const ms = await target.measure.longestTurnMs()
    if (ms > worst.ms) worst = { ms, what }
    assert.ok(ms < turnMsMax, `${what}: one turn took ${ms} ms of processor time`)
  }

  test('the worst bodies of every method hold the main thread for less than 100 ms, on every port', async (t) => {
    const outcomes = new Map<string, number>()
    const worstBodiesOf = new Map<string, ReturnType<typeof worstOf>>()
    await target.measure.longestTurnMs()
    const ports = { main: [fleet, control, ...apps], fleet: [fleet], control: [control] } as const
    for (const [port, services] of Object.entries(ports)) {
      for (const { desc, table } of services) {
        for (const method of desc.methods) {
          const { body: bodyClass, caller } = table[method.localName] as AccessRow
          const request = `${method.input.typeName} ${bodyClass}`
          const isNew = !worstBodiesOf.has(request)
          const bodies = worstBodiesOf.get(request) ?? worstOf(method, limits.bodies[bodyClass])
          worstBodiesOf.set(request, bodies)
          if (caller === 'task') await target.startRun()
          for (const known of [true, false]) {
            for (const door of ['http', 'grpc'] as const) {
              // Every shape once a request: what a body costs does not depend on the door.
              const all = isNew && known && door === 'http'
              for (const [what, body] of all ? bodies.filter(isPassing) : bodies.slice(0, 1)) {
                const outcome = await target.call(method, body, { port: port as 'main', known, door })
                outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
                assert.doesNotMatch(outcome, /http 50[^1]|grpc (2|13)$/, `${method.name} ${what}`)
                if (!known && caller !== 'superexec') assert.doesNotMatch(outcome, /http 200|grpc 0/, method.name)
                // A task ends with its output.
                if (method.name === 'PushAppOutputs' && /http 200|grpc 0/.test(outcome)) await target.startRun()
              }
            }
          }
          await checkTurn(`${port} ${desc.typeName} ${method.name}`)
          // The app was known until the end: its bodies were read.
          if (caller === 'task')
            await target.main.call(Runtime.method.sendTaskHeartbeat, {}, { headers: target.headers })
        }
      }
    }
    t.diagnostic(JSON.stringify(Object.fromEntries(outcomes)))
    t.diagnostic(`the longest turn took ${worst.ms} ms (${worst.what})`)
  })

  /** A request of many megabytes: what it holds up, and the memory that it takes. */
  async function large<M extends DescMethod>(
    method: M,
    init: MessageInitShape<M['input']>,
    options: CallOptions = {},
  ): Promise<string> {
    const body = encoded(method, init)
    await target.measure.longestTurnMs()
    const atRest = target.measure.startMemory()
    const outcome = await target.call(method, body, options)
    await checkTurn(`${method.name} of ${body.length} bytes`)
    const taken = target.measure.highestMemory() - atRest
    const most = timesItsSize * body.length + memoryFloor
    assert.ok(taken <= most, `${method.name} of ${body.length} bytes took ${taken} bytes`)
    return outcome
  }

  test('large requests hold the main thread for less than 100 ms, and take no more than three times their size', async (t) => {
    worst = { ms: 0, what: '' }
    await target.startRun()
    const { runId } = target
    const node = { nodeId: 1n }
    const object = encodeObject('ArrayChunk', [], randomBytes(limits.objectBytesMax - 100))
    const ids = Array.from({ length: limits.objectTreeNodesMax - 100 }, (_, index) => objectId(Buffer.from(`${index}`)))
    const { wire, tree } = instructionTo(target.nodeId, runId, 1)
    const children = [...tree.children, ...[objectId(object), ...ids].map((id) => objectTree(id))]
    const push = { messagesList: [wire], messageObjectTrees: [objectTree(tree.objectId, children)] }
    assert.equal(await large(Runtime.method.pushMessages, push), 'http 200')
    for (const door of ['http', 'grpc'] as const) {
      const answered = /http 200|grpc 0/
      const upload = { node, runId, objectId: objectId(object), objectContent: object }
      assert.match(await large(Runtime.method.pushObject, upload, { door }), answered)
      assert.match(await large(Fleet.method.pushObject, upload, { door, known: false }), /http 401|grpc 16|closed/)
      await target.request(Runtime.method.pullObject, { node, runId, objectId: upload.objectId }, { door })
      await checkTurn(`PullObject over ${door}`)
    }
    assert.equal(
      await large(Runtime.method.pullMessages, { messageIds: ids.slice(0, limits.repliesPerPullMax) }),
      'http 200',
    )
    const lines = Array.from({ length: 250 }, () => 'x'.repeat(62_000))
    for (let count = 0; count < 3; count++)
      assert.equal(await large(Runtime.method.pushLogs, { node, runId, logs: lines }), 'http 200')
    for await (const { logOutput } of target.control.stream(Control.method.streamLogs, { runId })) {
      // A note says what the run waits for.
      assert.equal(logOutput.replace(/\n\[Since [^\]]*\]\n/, '').length, 3 * 250 * 62_000)
      break
    }
    await checkTurn('StreamLogs')
    writeFileSync(`${target.app}/app/big.py`, randomBytes(16 * MiB).toString('hex'))
    const content = buildFab(target.app).bytes
    assert.equal(await large(Control.method.startRun, { fab: { content } }, { port: 'control' }), 'http 200')
    const value = { value: { case: 'sintList', value: { vals: ids.map((_, index) => BigInt(index)) } } } as const
    // Larger transactions are read again by SQLite when they commit: 60 MiB take 70 ms alone, and more beside other load.
    const half = object.subarray(0, object.length / 2)
    for (const one of [value, { value: { case: 'bytes', value: half } } as const]) {
      const items = [{ key: 'c', value: { case: 'configRecord', value: { items: [{ key: 'k', value: one }] } } }]
      const context = { runId, state: { items } } as never
      assert.equal(await large(Runtime.method.pushTaskOutput, { context, subStatus: 'completed' }), 'http 200')
      await target.startRun(content)
      await checkTurn('PullTaskInput')
    }
    t.diagnostic(`the longest turn took ${worst.ms} ms (${worst.what})`)
  })
})
