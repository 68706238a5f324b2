import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { SettableClock } from '../../../test/harness/fake-clock.ts'
import { type CoreOptions, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { CallHead } from '../../rpc/call.ts'
import type { CalledMethod } from '../../rpc/service.ts'
import { heartbeat } from '../nodes/nodes.ts'
import { replaceReply } from './broken-replies.ts'
import { find } from './message-store.ts'
import { watchStalledReplies } from './stalled-replies.ts'

/** A node that beats, and has announced a reply of which nothing has come. */
async function setUp(quotas: CoreOptions['quotas'] = {}) {
  const clock = new SettableClock()
  const core = await SuperlinkCore.start({ quotas, clock, monotonicNow: () => clock.steadyNow() })
  const { ctx } = core
  const sleep = mock.method(clock, 'sleep')
  const stop = new AbortController()
  const bucket = { isInTrouble: false }
  const watch = watchStalledReplies(ctx, stop.signal, () => bucket.isInTrouble)
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId, { ttl: 7200 })
  await core.push(runId, [asked])
  await core.claim(nodeId)
  await settled()
  assert.equal(sleep.mock.callCount(), 0, 'it looks without a reason')
  const reply = core.replyTo(asked, { bytes: 100_000 })
  await core.reply(reply, { upload: false })
  await settled()
  const pass = async (ms: number): Promise<void> => {
    for (const endsAt = clock.now() + ms; clock.now() < endsAt; ) {
      clock.advance(Math.min(10_000, endsAt - clock.now()))
      await heartbeat(ctx, nodeId, 30_000)
      await settled()
    }
  }
  /** An upload by the node with this key, until it is ended. */
  const upload = (publicKey = 'node') => {
    const head = { signal: new AbortController().signal } as CallHead
    const method = { service: Fleet.typeName, name: 'pushObject' } as CalledMethod
    const { interceptor } = ctx.uploads
    interceptor.onCaller?.(head, method, { credential: { kind: 'key', publicKey } })
    return { end: () => interceptor.onError?.(head, method, undefined, 'before') }
  }
  const isGivenUp = async () => (await find(ctx.db.read, reply.messageId)) === undefined
  return {
    ...{ core, clock, nodeId, runId, asked, reply, pass, upload, isGivenUp, sleep, bucket },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watch
      await core[Symbol.asyncDispose]()
    },
  }
}

const quietMs = limits.replyQuietMs
const lookMs = quietMs / 6

test('a reply whose objects never come from a node that beats is an error after a minute, and nothing looks then', async () => {
  await using world = await setUp()
  const { core, runId, asked, pass, isGivenUp, sleep } = world
  const held = core.collect(runId, [asked.messageId], { waitMs: 600_000 })
  await pass(quietMs - lookMs)
  assert.equal(await isGivenUp(), false)
  await pass(2 * lookMs)
  const [error] = await held
  assert.match(error?.error?.reason ?? '', /was announced, and its objects stopped coming/)
  assert.equal(await isGivenUp(), true)
  const looks = sleep.mock.callCount()
  await pass(3 * quietMs)
  assert.ok(sleep.mock.callCount() <= looks + 1, 'it still looks')
})

test('a node that is uploading, or tries again and again, has time for its reply; another node gains it none', async () => {
  await using world = await setUp()
  const { pass, upload, isGivenUp } = world
  const slow = upload()
  await pass(5 * quietMs)
  slow.end()
  for (let tries = 0; tries < 8; tries++) {
    await pass(quietMs / 2)
    upload().end()
  }
  assert.equal(await isGivenUp(), false)
  const other = upload('another node')
  await pass(quietMs + lookMs)
  other.end()
  assert.equal(await isGivenUp(), true)
})

test('a reply that makes no progress while its node uploads other objects is an error after a quarter of an hour', async () => {
  await using world = await setUp()
  const { core, reply, pass, upload, isGivenUp } = world
  const busy = upload()
  await pass(10 * 60_000)
  const [[id, bytes] = ['', () => new Uint8Array()]] = [...reply.deflated.objects]
  assert.equal(await core.uploadObject(reply, id, bytes()), 'stored')
  await pass(10 * 60_000)
  assert.equal(await isGivenUp(), false, 'an object has come')
  await pass(6 * 60_000)
  busy.end()
  assert.equal(await isGivenUp(), true)
})

test('while the disk of the SuperLink is full no reply is given up', async () => {
  await using world = await setUp()
  const { core, pass, isGivenUp } = world
  core.ctx.room.noteFull('/data')
  await pass(5 * quietMs)
  assert.equal(await isGivenUp(), false)
})

test('a reply that waits for a quota of its run is not given up, and is once nothing comes of it any more', async () => {
  await using world = await setUp({ runDisk: 50_000 })
  const { core, nodeId, runId, pass, upload, isGivenUp } = world
  for (let tries = 0; tries < 2 * (limits.replySilenceMs / 20_000); tries++) {
    const refused = upload()
    await assert.rejects(core.ctx.quotas.takeBytes({ runId, nodeId }, 100_000), { code: 'quota-reached' })
    refused.end()
    await pass(20_000)
  }
  assert.equal(await isGivenUp(), false)
  await pass(quietMs + 2 * lookMs)
  assert.equal(await isGivenUp(), true)
})

test('a reply whose objects stop coming is given up while another node of its run waits for a quota', async () => {
  await using world = await setUp({ runDisk: 50_000 })
  const { core, runId, pass, upload, isGivenUp } = world
  const other = await core.join('another node')
  for (let tries = 0; tries < 5; tries++) {
    const refused = upload('another node')
    await assert.rejects(core.ctx.quotas.takeBytes({ runId, nodeId: other }, 100_000), { code: 'quota-reached' })
    refused.end()
    await pass(quietMs / 4)
  }
  assert.equal(await isGivenUp(), true)
})

test('a message that was announced unasked and does not come is forgotten', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, pass } = world
  const note = core.unprompted(runId, nodeId)
  await core.sendUnprompted(note, { upload: false })
  await pass(quietMs + 2 * lookMs)
  assert.equal(await find(core.ctx.db.read, note.messageId), undefined)
})

test('a reply whose last object comes while it is being given up is delivered', async () => {
  await using world = await setUp()
  const { core, runId, asked, reply } = world
  const announced = await find(core.ctx.db.read, reply.messageId)
  assert.ok(announced)
  await core.upload(reply)
  assert.equal(await replaceReply(core.ctx, announced, 'was announced, and its objects stopped coming.'), undefined)
  const [received] = await core.collect(runId, [asked.messageId])
  assert.deepEqual([received?.metadata.messageId, received?.error], [reply.messageId, undefined])
})

test('while the bucket for objects is out of order no reply is given up, and each has the whole time again then', async () => {
  await using world = await setUp()
  const { pass, bucket, isGivenUp } = world
  bucket.isInTrouble = true
  await pass(limits.replySilenceMs + quietMs)
  bucket.isInTrouble = false
  await pass(quietMs - 2 * lookMs)
  assert.equal(await isGivenUp(), false)
  await pass(4 * lookMs)
  assert.equal(await isGivenUp(), true)
})

for (const [direction, setMs] of [
  ['forwards', 3_600_000],
  ['backwards', -3_600_000],
] as const)
  test(`when the clock jumps an hour ${direction}, a reply is given up as soon as ever, and none that still comes`, async () => {
    await using world = await setUp()
    const { clock, pass, upload, isGivenUp } = world
    upload().end()
    await pass(lookMs)
    clock.setMs = setMs
    for (let tries = 0; tries < 8; tries++) {
      await pass(quietMs / 2)
      upload().end()
    }
    assert.equal(await isGivenUp(), false)
    await pass(quietMs + lookMs)
    assert.equal(await isGivenUp(), true)
  })
