import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { DescMethod, DescService, MessageInitShape } from '@bufbuild/protobuf'
import * as tables from '../../src/access/table.ts'
import { type BodyBounds, type BodyClass, limits } from '../../src/base/limits.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { ClientAppIo } from '../../src/gen/flwr/proto/clientappio_pb.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { ServerAppIo } from '../../src/gen/flwr/proto/serverappio_pb.ts'
import { encodeObject, objectId } from '../../src/objects/object-format.ts'
import { objectTree } from '../../src/objects/object-tree.ts'
import { scanBody } from '../../src/rpc/body-scan.ts'
import type { AccessRow } from '../../src/rpc/service.ts'
import { HostileSimulation } from '../harness/hostile-simulation.ts'
import { type CallOptions, encoded, HostileTarget, type Port } from '../harness/hostile-target.ts'
import { measured, measuredMemory } from '../harness/measured-program.ts'
import { instructionTo } from '../harness/two-runs.ts'
import { worstBodies } from '../harness/worst-bodies.ts'

const MiB = 1024 * 1024
/** No request may hold the main thread longer, in processor time. */
const turnMsMax = 100
/** What a call costs besides its body: the buffers of a connection, compiled code, the page cache of SQLite (8 MiB). */
const memoryFloor = 24 * MiB
/** The error replies to 20,000 message ids are much larger than the ids. */
const repliesFloor = 48 * MiB
/** No request may take more memory than so many times its size, its body included. */
const timesItsSize = 3

interface Served {
  readonly desc: DescService
  readonly table: Readonly<Record<string, AccessRow>>
}
const fleet: Served = { desc: Fleet, table: tables.fleetAccess }
const control: Served = { desc: Control, table: tables.controlAccess }
/** A simulation serves ClientApps too, those of Flower 1.29 over ClientAppIo. */
const clientApps: Served = { desc: ClientAppIo, table: tables.clientAppIoAccess }
const apps: readonly Served[] = [
  { desc: Runtime, table: tables.runtimeAccess },
  { desc: ServerAppIo, table: tables.serverAppIoAccess },
]

/** From here on bodies of nothing but fields are beyond every bound. */
const shapeBytesMax = 2 * MiB

type Bodies = readonly (readonly [what: string, body: Uint8Array])[]

const worstKnown = new Map<string, Bodies>()

/** Of each shape the largest body that passes the scan, and one of twice its size, which does not. */
function worstOf(method: DescMethod, bodyClass: BodyClass): Bodies {
  const request = `${method.input.typeName} ${bodyClass}`
  const worst = worstKnown.get(request) ?? findWorst(method, limits.bodies[bodyClass])
  worstKnown.set(request, worst)
  return worst
}

function findWorst(method: DescMethod, bounds: BodyBounds): Bodies {
  const worst: (readonly [what: string, body: Uint8Array])[] = []
  const larger = new Map<string, Uint8Array>()
  const passed = new Set<string>()
  for (let bytes = Math.min(bounds.bytesMax - 1000, shapeBytesMax); bytes > 500; bytes = Math.floor(bytes / 2)) {
    for (const [what, make] of worstBodies(method.input, bytes)) {
      if (passed.has(what)) continue
      const body = make()
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

/** With and without what makes a caller known, over both doors. At the ports that serve the same again two will do. */
const callers = [
  [true, 'http'],
  [true, 'grpc'],
  [false, 'http'],
  [false, 'grpc'],
] as const
const callersElsewhere = [callers[0], callers[3]] as const

/** Methods that end the task of an app. */
const endsTask = new Set(['PushTaskOutput', 'PushAppOutputs'])

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
  let target: HostileTarget
  let worst = { ms: 0, what: '' }

  /** Returns the most memory since the last look. */
  async function checkTurn(what: string): Promise<number> {
    const { turnMs: ms, mostBytes } = await target.measure.look()
    if (ms > worst.ms) worst = { ms, what }
    assert.ok(ms < turnMsMax, `${what}: one turn took ${ms} ms of processor time`)
    return mostBytes
  }

  test('the worst bodies of every method hold the main thread for less than 100 ms, on every port', async (t) => {
    await using stack = new AsyncDisposableStack()
    target = await HostileTarget.start(stack, measured)
    const outcomes = new Map<string, number>()
    const tried = new Set<Bodies>()
    await target.measure.look()
    const ports = { main: [fleet, control, ...apps], fleet: [fleet], control: [control], plain: apps } as const
    for (const [port, services] of Object.entries(ports)) {
      for (const { desc, table } of services) {
        for (const method of desc.methods) {
          const { body: bodyClass, caller } = table[method.localName] as AccessRow
          const bodies = worstOf(method, bodyClass)
          const isNew = !tried.has(bodies)
          tried.add(bodies)
          if (caller === 'task') await target.startRun()
          for (const [known, door] of port === 'main' ? callers : callersElsewhere) {
            // Every shape once a request: what a body costs does not depend on the door.
            const all = isNew && known && door === 'http'
            for (const [what, body] of all ? bodies.filter(isPassing) : bodies.slice(0, 1)) {
              const outcome = await target.call(method, body, { port: port as Port, known, door })
              outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
              assert.doesNotMatch(outcome, /http 50[^1]|grpc (2|13)$/, `${method.name} ${what}`)
              if (!known && caller !== 'superexec') assert.doesNotMatch(outcome, /http 200|grpc 0/, method.name)
              // A task ends with its output.
              if (method.name === 'PushAppOutputs' && /http 200|grpc 0/.test(outcome)) await target.startRun()
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

  test('nor do they at the port of a simulation, where a ClientApp calls', async (t) => {
    await using stack = new AsyncDisposableStack()
    const simulation = await HostileSimulation.start(stack)
    await simulation.measure.look()
    let most = { ms: 0, what: '' }
    for (const { desc, table } of [apps[0] as Served, clientApps]) {
      for (const method of desc.methods) {
        const { body: bodyClass } = table[method.localName] as AccessRow
        const bodies = worstOf(method, bodyClass)
        assert.ok(bodies.some(isPassing), `${method.name} has no body that passes the scan`)
        await simulation.startClientApp()
        for (const [known, door] of callersElsewhere) {
          for (const [what, body] of known ? bodies.filter(isPassing) : bodies.slice(0, 1)) {
            const outcome = await simulation.call(method, body, { known, door })
            assert.doesNotMatch(outcome, /http 50[^1]|grpc (2|13)$/, `${method.name} ${what}`)
            // A task ends with its output.
            if (known && endsTask.has(method.name) && outcome === 'http 200') await simulation.startClientApp()
          }
        }
        // The ClientApp was known until the end: its bodies were read.
        const alive = { known: true, door: 'http' } as const
        const heartbeat = await simulation.call(Runtime.method.sendTaskHeartbeat, new Uint8Array(), alive)
        assert.equal(heartbeat, 'http 200', method.name)
        const { turnMs: ms } = await simulation.measure.look()
        if (ms > most.ms) most = { ms, what: method.name }
        assert.ok(ms < turnMsMax, `${method.name}: one turn took ${ms} ms of processor time`)
      }
    }
    t.diagnostic(`the longest turn took ${most.ms} ms (${most.what})`)
  })

  /** A request of many megabytes: what it holds up, and the memory that it takes. */
  async function large<M extends DescMethod>(
    method: M,
    init: MessageInitShape<M['input']>,
    { floor = memoryFloor, ...options }: CallOptions & { floor?: number } = {},
  ): Promise<string> {
    const body = encoded(method, init)
    // The lease of the app would end on a busy machine.
    await target.main.call(Runtime.method.sendTaskHeartbeat, {}, { headers: target.headers })
    const { leftBytes: atRest } = await target.measure.look()
    const outcome = await target.call(method, body, options)
    const taken = (await checkTurn(`${method.name} of ${body.length} bytes`)) - atRest
    const most = timesItsSize * body.length + floor
    assert.ok(taken <= most, `${method.name} of ${body.length} bytes took ${taken} bytes`)
    return outcome
  }

  /** Asks for a large object many times over a connection that is never read. */
  async function checkUnread(runId: bigint, id: string): Promise<void> {
    const { leftBytes: atRest } = await target.measure.look()
    const pull = { node: { nodeId: 1n }, runId, objectId: id }
    const greedy = target.callUnread(Runtime.method.pullObject, pull, 16)
    // Another peer, which has no certificate, is served meanwhile.
    assert.equal(await target.request(Runtime.method.pullObject, pull, { known: 'token' }), 'http 200')
    const taken = (await checkTurn('PullObject over a connection that is not read')) - atRest
    greedy.destroy()
    const most = limits.bodiesPerPeerBytesMax + 2 * limits.objectBytesMax + memoryFloor
    assert.ok(taken <= most, `unread responses took ${taken} bytes`)
  }

  test('large requests hold the main thread for less than 100 ms, and take no more than three times their size', async (t) => {
    await using stack = new AsyncDisposableStack()
    target = await HostileTarget.start(stack, measuredMemory)
    worst = { ms: 0, what: '' }
    const { runId } = target
    const node = { nodeId: 1n }
    const object = encodeObject('ArrayChunk', [], randomBytes(limits.objectBytesMax - 100))
    const ids = Array.from({ length: limits.objectTreeNodesMax - 100 }, (_, index) => objectId(Buffer.from(`${index}`)))
    const parts = [objectId(object), ...ids].map((id) => objectTree(id))
    const push = (seed: number) => {
      const { wire, tree } = instructionTo(target.nodeId, runId, seed)
      return { messagesList: [wire], messageObjectTrees: [objectTree(tree.objectId, [...tree.children, ...parts])] }
    }
    // The first large transaction starts the thread that copies the log of SQLite.
    assert.equal(await target.request(Runtime.method.pushMessages, push(1)), 'http 200')
    assert.equal(await large(Runtime.method.pushMessages, push(2)), 'http 200')
    for (const door of ['http', 'grpc'] as const) {
      const answered = /http 200|grpc 0/
      const upload = { node, runId, objectId: objectId(object), objectContent: object }
      assert.match(await large(Runtime.method.pushObject, upload, { door }), answered)
      assert.match(await large(Fleet.method.pushObject, upload, { door, known: false }), /http 401|grpc 16|closed/)
      await target.request(Runtime.method.pullObject, { node, runId, objectId: upload.objectId }, { door })
      await checkTurn(`PullObject over ${door}`)
    }
    assert.equal(
      await large(
        Runtime.method.pullMessages,
        { messageIds: ids.slice(0, limits.repliesPerPullMax) },
        { floor: repliesFloor },
      ),
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
    await checkUnread(runId, objectId(object))
    const value = { value: { case: 'sintList', value: { vals: ids.map((_, index) => BigInt(index)) } } } as const
    const bytes = { value: { case: 'bytes', value: object.subarray(0, limits.objectBytesMax - 1000) } } as const
    for (const one of [value, bytes]) {
      const items = [{ key: 'c', value: { case: 'configRecord', value: { items: [{ key: 'k', value: one }] } } }]
      const context = { runId, state: { items } } as never
      assert.equal(await large(Runtime.method.pushTaskOutput, { context, subStatus: 'completed' }), 'http 200')
      await target.startRun(content)
      await checkTurn('PullTaskInput')
    }
    t.diagnostic(`the longest turn took ${worst.ms} ms (${worst.what})`)
  })
})
