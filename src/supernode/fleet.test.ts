import assert from 'node:assert/strict'
import { test } from 'node:test'
import { queryObjects } from 'node:v8'
import { create, type DescMethodUnary, type MessageInitShape } from '@bufbuild/protobuf'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { UsageError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import { generateNodeKey } from '../identity/node-key.ts'
import type { CallOptions, Channel } from '../rpc/channel.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { FleetClient, type FleetOptions, fleet, isNodeForgotten, isRunEnded } from './fleet.ts'
import { sendHeartbeats } from './heartbeats.ts'

const key = generateNodeKey()

type Respond = (method: DescMethodUnary, request: never) => object

/** A SuperLink that responds as the test says; by default with an empty response at once. */
class FakeChannel {
  readonly calls: { method: DescMethodUnary; request: Record<string, unknown>; options: CallOptions }[] = []
  reconnects = 0
  /** Whether it holds calls. */
  holds = true
  respond: Respond = () => ({})

  async call(method: DescMethodUnary, request: object, options: CallOptions) {
    this.calls.push({ method, request: request as Record<string, unknown>, options })
    const message = create(
      method.output,
      this.respond(method, request as never) as MessageInitShape<typeof method.output>,
    )
    return { message, waited: this.holds }
  }

  reconnect(): void {
    this.reconnects += 1
  }

  get methods(): string[] {
    return this.calls.map(({ method }) => method.localName)
  }

  get signed(): boolean[] {
    return this.calls.map(({ options }) => options.binaryHeaders !== undefined)
  }

  /** These errors come first, one a call. */
  fail(...errors: RpcError[]): void {
    const { respond } = this
    this.respond = (method, request) => {
      const error = errors.shift()
      if (error) throw error
      return respond(method, request)
    }
  }
}

function setUp(config: Partial<FleetOptions['config']> = {}) {
  const channel = new FakeChannel()
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const stop = new AbortController()
  const client = new FleetClient({
    config: {
      key,
      keyIsAutomatic: false,
      tags: {},
      hasCertificate: false,
      maxRetries: undefined,
      maxWaitMs: undefined,
      ...config,
    },
    channel: channel as unknown as Channel,
    clock,
    log,
    signal: stop.signal,
  })
  /** Lets the pauses between tries pass. */
  const settle = async <T>(call: Promise<T>): Promise<T> => {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    call.then(over, over)
    await letPass(clock, 'the end of a call', () => isOver)
    return call
  }
  return { channel, clock, lines, stop, client, settle }
}

const unreachable = (): RpcError => new RpcError('unavailable', 'There is no network.', { kind: 'unreachable' })
const refusal = (status: RpcError['status'], message = 'No.', refusalReason?: string): RpcError =>
  new RpcError(status, message, { kind: 'peer', refusalReason })
const online = (): RpcError => refusal('failed-precondition', 'SuperNode could not be activated')
const node = { nodeId: 9n }
const pull = (client: FleetClient) => client.call(fleet.pullMessages, { node }, { waitMs: 25_000 })

test('a call waits while the SuperLink cannot be reached, with one line at the start and one at the end', async () => {
  const { channel, client, lines, settle } = setUp()
  channel.fail(unreachable(), unreachable(), unreachable())
  await settle(pull(client))
  assert.equal(channel.calls.length, 4)
  assert.deepEqual(lines, ['warn Waiting for the SuperLink: There is no network.', 'info The SuperLink responds again'])
})

test('after a failure the SuperLink is not asked to hold the call, so that its return shows at once, nor for objects', async () => {
  const { channel, client, settle } = setUp()
  channel.fail(unreachable())
  await settle(client.call(fleet.pullMessages, { node, objectsBytesMax: 100 }, { waitMs: 25_000 }))
  assert.deepEqual(
    channel.calls.map(({ request }) => request.objectsBytesMax),
    [100, 0],
  )
  assert.deepEqual(
    channel.calls.map(({ options }) => options.waitMs),
    [25_000, 0],
  )
})

test('a busy SuperLink is left alone for as long as it says', async () => {
  const { channel, clock, client, settle } = setUp()
  const startedAt = clock.now()
  channel.fail(new RpcError('resource-exhausted', 'Too much to do.', { kind: 'peer', retryAfterMs: 60_000 }))
  await settle(pull(client))
  const waitedMs = clock.now() - startedAt
  assert.ok(waitedMs >= 60_000 && waitedMs <= 90_000, String(waitedMs))
})

test('a refusal that waiting does not change is thrown at once', async () => {
  for (const status of ['permission-denied', 'invalid-argument', 'not-found'] as const) {
    const { channel, client } = setUp()
    channel.fail(refusal(status))
    await assert.rejects(pull(client), { name: 'RpcError', status })
    assert.equal(channel.calls.length, 1)
  }
})

test('the limits on tries and on waiting end the program with a sentence', async () => {
  for (const [config, triesMax] of [
    [{ maxRetries: 2, maxWaitMs: undefined }, 3],
    [{ maxRetries: undefined, maxWaitMs: 10_000 }, Number.POSITIVE_INFINITY],
  ] as const) {
    const { channel, clock, client, settle } = setUp(config)
    const startedAt = clock.now()
    channel.respond = () => {
      throw unreachable()
    }
    await assert.rejects(settle(pull(client)), (error: UsageError) => {
      assert.ok(error instanceof UsageError)
      assert.equal(error.flowerCode, 305)
      assert.match(error.message, new RegExp(`^There is no network\\. Gave up after ${channel.calls.length} tries\\.$`))
      return true
    })
    assert.ok(channel.calls.length <= triesMax)
    if (config.maxWaitMs !== undefined) assert.ok(clock.now() - startedAt > config.maxWaitMs)
  }
})

test('the end of the program ends a call, and a pause between tries', async () => {
  const { channel, client, stop } = setUp()
  channel.fail(unreachable())
  const call = pull(client)
  setImmediate(() => stop.abort(new Error('stopped')))
  await assert.rejects(call, /stopped/)
  await assert.rejects(pull(client), /stopped/)
  assert.equal(channel.calls.length, 1)
})

test('a call that gets no response is made over another connection; transfers get more time for theirs', async () => {
  const { channel, client, settle } = setUp()
  channel.fail(refusal('deadline-exceeded'))
  await settle(pull(client))
  assert.equal(channel.reconnects, 1)
  await client.call(fleet.pullObject, { node, runId: 1n, objectId: 'x' }, { waitMs: 25_000 })
  await client.call(fleet.getRun, { node, runId: 1n })
  const timeouts = (): (number | undefined)[] => channel.calls.map(({ options }) => options.timeoutMs)
  assert.deepEqual(timeouts(), [55_000, 55_000, 325_000, 30_000])
  // It has shown that it does not hold calls.
  channel.holds = false
  await pull(client)
  await pull(client)
  assert.deepEqual(timeouts().slice(-2), [55_000, 30_000])
})

test('a pull says that the response to an earlier try was lost, if the SuperLink may have handled it', async () => {
  const { channel, client, settle } = setUp()
  channel.fail(unreachable(), refusal('deadline-exceeded'), unreachable())
  await settle(pull(client))
  await pull(client)
  const lost = channel.calls.map(({ request }) => (request as { responseLost?: boolean }).responseLost ?? false)
  assert.deepEqual(lost, [false, false, true, true, false])
})

test('a SuperLink of ours is known by its responses, and not by whether it holds calls', async () => {
  const { channel, client } = setUp()
  channel.holds = false
  channel.respond = () => ({ endedRunsSeen: 3n })
  await pull(client)
  assert.equal(client.redelivers, true)
  await client.call(fleet.getRun, { node, runId: 1n })
  assert.equal(client.redelivers, true)
  channel.respond = () => ({})
  await pull(client)
  assert.equal(client.redelivers, false)
})

test('calls are signed, except where a certificate speaks for the node until the SuperLink asks for a signature', async () => {
  const registered = setUp({ hasCertificate: true })
  await pull(registered.client)
  assert.deepEqual(registered.channel.signed, [true])

  const { channel, client } = setUp({ hasCertificate: true, keyIsAutomatic: true })
  await pull(client)
  channel.fail(refusal('unauthenticated'))
  await pull(client)
  await pull(client)
  assert.deepEqual(channel.signed, [false, false, true, true])

  const refused = setUp({ hasCertificate: true, keyIsAutomatic: true })
  refused.channel.fail(refusal('unauthenticated', 'Revoked.', 'certificate-revoked'))
  await assert.rejects(pull(refused.client), /Revoked/)
})

test('a node with a key of its own start registers it, also if the response to an earlier try was lost', async () => {
  const { channel, client } = setUp({ keyIsAutomatic: true })
  channel.respond = (method) => (method === fleet.activateNode ? { nodeId: 9n } : {})
  channel.fail(refusal('already-exists', 'The public key is already in use.'))
  await client.join()
  assert.deepEqual(channel.methods, ['registerNode', 'activateNode'])
  assert.equal(client.nodeId, 9n)

  const refused = setUp({ keyIsAutomatic: true })
  refused.channel.fail(refusal('permission-denied', 'Nodes are registered by hand here.'))
  await assert.rejects(refused.client.join(), /by hand/)
})

test('a SuperLink of Flower gets a heartbeat as soon as it responds again, ours at its usual time', async () => {
  for (const isFlowers of [true, false]) {
    const { channel, client, clock, settle, stop } = setUp()
    const { signal } = stop
    channel.respond = (method) =>
      method === fleet.sendNodeHeartbeat ? { success: true } : isFlowers ? {} : { endedRunsSeen: 0n }
    await settle(pull(client))
    const beating = sendHeartbeats({ fleet: client, clock, signal })
    channel.fail(unreachable())
    let isBack = false
    const returning = pull(client).then(() => {
      isBack = true
    })
    await letPass(clock, 'its return', () => isBack, 10_000)
    await returning
    const hasBeaten = () => channel.methods.includes('sendNodeHeartbeat')
    const startedAt = clock.now()
    await letPass(clock, 'a heartbeat', hasBeaten, isFlowers ? 10_000 : undefined)
    assert.equal(clock.now() - startedAt > 10_000, !isFlowers)
    stop.abort()
    await assert.rejects(beating)
  }
})

test('a SuperNode keeps nothing of the heartbeats that it has sent', async () => {
  const { channel, client, clock, stop } = setUp()
  channel.respond = () => ({ success: true })
  const beating = sendHeartbeats({ fleet: client, clock, signal: stop.signal })
  const countAfter = async (heartbeats: number): Promise<number> => {
    await letPass(clock, 'a heartbeat', () => channel.calls.length >= heartbeats)
    return Number(queryObjects(Promise))
  }
  const before = await countAfter(10)
  const grown = (await countAfter(110)) - before
  stop.abort()
  await assert.rejects(beating)
  assert.ok(grown < 50, `100 heartbeats left ${grown} promises`)
})

test('a SuperLink that takes pulls for heartbeats gets one only when they end', async () => {
  const { channel, client, clock, settle, stop } = setUp()
  const { signal } = stop
  channel.respond = (method) =>
    method === fleet.sendNodeHeartbeat ? { success: true } : { endedRunsSeen: 0n, heartbeatCounted: true }
  await settle(pull(client))
  const beating = sendHeartbeats({ fleet: client, clock, signal })
  const heartbeats = () => channel.methods.filter((method) => method === 'sendNodeHeartbeat').length
  for (let pulls = 0; pulls < 10; pulls++) {
    clock.advance(25_000)
    await pull(client)
  }
  assert.equal(heartbeats(), 0)
  const pulledAt = clock.now()
  await letPass(clock, 'a heartbeat', () => heartbeats() > 0)
  const silenceMs = clock.now() - pulledAt
  assert.ok(silenceMs >= 29_000 && silenceMs <= 31_000, `${silenceMs} ms after the last pull`)

  // A pull that fails counts for nothing.
  await settle(pull(client))
  channel.fail(unreachable(), unreachable())
  await settle(pull(client))
  channel.respond = (method) => (method === fleet.sendNodeHeartbeat ? { success: true } : { endedRunsSeen: 0n })
  await settle(pull(client))
  await letPass(clock, 'the next heartbeat', () => heartbeats() > 1)
  stop.abort()
  await Promise.allSettled([beating])
})

test('a node that was killed tries to come back for as long as it counts as online, and no longer', async () => {
  const { channel, client, lines, settle } = setUp()
  channel.respond = () => ({ nodeId: 9n })
  channel.fail(online(), online(), online())
  await settle(client.join())
  assert.equal(client.nodeId, 9n)
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', /One that was killed counts as online for a minute/)

  const second = setUp()
  second.channel.respond = () => {
    throw online()
  }
  const startedAt = second.clock.now()
  await assert.rejects(second.settle(second.client.join()), /could not be activated/)
  const triedMs = second.clock.now() - startedAt
  assert.ok(triedMs > 60_000 && triedMs < 80_000, String(triedMs))
})

test('a node whose key no other process can have does not wait for one', async () => {
  const { channel, client } = setUp({ keyIsAutomatic: true })
  channel.respond = (method) => {
    if (method === fleet.activateNode) throw online()
    return {}
  }
  await assert.rejects(client.join(), /could not be activated/)
  assert.deepEqual(channel.methods, ['registerNode', 'activateNode'])
})

test('several jobs that find their node forgotten join again once', async () => {
  const { channel, client } = setUp()
  let nodeId = 9n
  channel.respond = () => ({ nodeId: nodeId++ })
  await client.join()
  await Promise.all([client.rejoin(9n as NodeId), client.rejoin(9n as NodeId)])
  assert.equal(client.nodeId, 10n)
  // It has happened already.
  await client.rejoin(9n as NodeId)
  assert.equal(channel.calls.length, 2)
})

test('a node says goodbye, and one that only this start knew is unregistered', async () => {
  for (const [config, expected] of [
    [{}, ['deactivateNode']],
    [{ keyIsAutomatic: true }, ['deactivateNode', 'unregisterNode']],
    [{ keyIsAutomatic: true, hasCertificate: true }, ['deactivateNode']],
  ] as const) {
    const { channel, client } = setUp(config)
    await client.leave()
    assert.equal(channel.calls.length, 0, 'it has not joined')
    channel.respond = () => ({ nodeId: 9n })
    await client.join()
    channel.calls.length = 0
    channel.fail(unreachable())
    await client.leave()
    assert.deepEqual(channel.methods, expected)
    assert.ok(channel.calls.every(({ request, options }) => request.nodeId === 9n && options.timeoutMs === 2000))
  }
})

test('an error tells whether the node is forgotten, or its run has ended', () => {
  const cases: [unknown, boolean, boolean][] = [
    [refusal('unauthenticated'), true, false],
    [refusal('unauthenticated', 'No.', 'certificate-revoked'), false, false],
    [refusal('permission-denied', 'No.', 'node-of-another-identity'), true, false],
    [refusal('permission-denied'), false, true],
    [refusal('permission-denied', 'No.', 'certificate-revoked'), false, false],
    [unreachable(), false, false],
    [new Error('unauthenticated'), false, false],
  ]
  for (const [error, forgotten, ended] of cases)
    assert.deepEqual([isNodeForgotten(error), isRunEnded(error)], [forgotten, ended], String(error))
})
