import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { emptyFab, type OwnMessage, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { UsageError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { Metrics } from '../../base/metrics.ts'
import { parseSuperlinkConfig } from '../config.ts'
import { findWait } from '../runs/find-wait.ts'
import { findRun } from '../runs/run.ts'
import { startRun } from '../runs/start.ts'
import { tellQuotas } from './quota-metrics.ts'

const MiB = 1024 * 1024

/** Uploads what a SuperNode, or the ServerApp, sends in a message of its run, as the APIs do. */
async function upload(core: SuperlinkCore, message: OwnMessage, nodeId?: NodeId): Promise<void> {
  const runId = message.metadata.runId as RunId
  for (const [id, read] of message.deflated.objects) {
    const bytes = read()
    using _room = await core.ctx.quotas.takeBytes({ runId, ...(nodeId === undefined ? {} : { nodeId }) }, bytes.length)
    await core.ctx.objects.put(id, bytes)
  }
}

/** Pushes an instruction with a model of this size. */
async function instruct(core: SuperlinkCore, runId: RunId, nodeId: NodeId, bytes: number): Promise<OwnMessage> {
  const message = core.instruction(runId, nodeId, { bytes })
  await core.push(runId, [message], { upload: false })
  await upload(core, message)
  return message
}

async function waitOf({ ctx }: SuperlinkCore, runId: RunId) {
  const run = await findRun(ctx.db.read, runId)
  assert.ok(run)
  return findWait(ctx, run)
}

test('a run beyond its quota is refused with the flag, says why it waits, and leaves other runs alone', async () => {
  await using core = await SuperlinkCore.start({ quotas: { runDisk: 3 * MiB } })
  const nodeId = await core.join('node')
  const run = await core.run()
  const other = await core.run()
  const first = await instruct(core, run.runId, nodeId, 2 * MiB)
  await assert.rejects(instruct(core, run.runId, nodeId, 2 * MiB), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'quota-reached')
    assert.match(error.message, /run \d+ may take 3M \(--quota-run-disk of the SuperLink\), and 2\.0M are taken/)
    return true
  })
  const wait = await waitOf(core, run.runId)
  assert.equal(wait?.kind, 'quota')
  assert.equal(wait?.what, 'room in --quota-run-disk of the SuperLink: 2.0M of 3M are used')
  assert.match(wait?.remedy ?? '', /raise the quota/)
  await instruct(core, other.runId, nodeId, 2 * MiB)
  assert.equal((await waitOf(core, other.runId))?.kind, 'replies')

  // What its node has received makes room, and the same call succeeds.
  await core.claim(nodeId)
  await core.confirm(first)
  core.clock.advance(limits.quotaCountEveryMs)
  await instruct(core, run.runId, nodeId, 2 * MiB)
  core.clock.advance(limits.quotaRefusalShownMs + 1)
  assert.equal((await waitOf(core, run.runId))?.kind, 'replies')
})

test('one SuperNode cannot fill the disk: what it has sent is limited, and other SuperNodes go on', async () => {
  await using core = await SuperlinkCore.start({ quotas: { nodeDisk: 3 * MiB } })
  const greedy = await core.join('greedy')
  const modest = await core.join('modest')
  const { runId } = await core.run()
  const send = async (nodeId: NodeId) => {
    const asked = core.instruction(runId, nodeId)
    await core.push(runId, [asked])
    const reply = core.replyTo(asked, { bytes: 2 * MiB })
    await core.reply(reply, { upload: false })
    await upload(core, reply, nodeId)
  }
  await send(greedy)
  await assert.rejects(
    send(greedy),
    /What this SuperNode has sent .* may take 3M \(--quota-node-disk of the SuperLink\)/,
  )
  await send(modest)
})

test('replies that fill a quota while they are half uploaded do not wait for each other: the oldest one is completed', async () => {
  await using core = await SuperlinkCore.start({ quotas: { runDisk: 3 * MiB, disk: 1024 * MiB } })
  const { quotas } = core.ctx
  const { runId } = await core.run()
  const announce = async (name: string) => {
    const nodeId = await core.join(name)
    const asked = core.instruction(runId, nodeId)
    await core.push(runId, [asked])
    const reply = core.replyTo(asked, { bytes: MiB })
    await core.reply(reply, { upload: false })
    const objects = [...reply.deflated.objects].map(([id, read]) => ({ id, bytes: read() }))
    const isLarge = ({ bytes }: { readonly bytes: Uint8Array }): boolean => bytes.length >= MiB
    const send = async (some: typeof objects): Promise<void> => {
      for (const { id, bytes } of some) {
        using _room = await quotas.takeBytes({ runId, nodeId, objectId: id }, bytes.length)
        assert.equal(await core.uploadObject(reply, id, bytes), 'stored')
      }
    }
    const rest = objects.filter((one) => !isLarge(one))
    return {
      begin: () => send(objects.filter(isLarge)),
      end: () => send(rest),
      state: () => core.stateOf(reply),
    }
  }
  const first = await announce('first')
  const second = await announce('second')
  await second.begin()
  await first.begin()
  const { limit, used } = (await quotas.list()).find(({ name }) => name === 'run-disk') ?? assert.fail()
  using _rest = await quotas.takeBytes({ runId }, limit - used)
  await assert.rejects(second.end(), { code: 'quota-reached' })
  await second.begin()
  assert.equal(await second.state(), 'announced', 'what is stored already takes no room')
  await first.end()
  assert.equal(await first.state(), 'offered')
  await second.end()
  assert.equal(await second.state(), 'offered')
})

test('what is stored counts after a restart, and calls at the same time take no more than there is', async () => {
  using folder = temporaryDirectory()
  const clock = new FakeClock()
  const quotas = { disk: 4 * MiB }
  {
    await using core = await SuperlinkCore.start({ folder: folder.path, clock, quotas })
    const nodeId = await core.join('node')
    const { runId } = await core.run()
    await instruct(core, runId, nodeId, 2 * MiB)
  }
  await using core = await SuperlinkCore.start({ folder: folder.path, clock, quotas })
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const results = await Promise.allSettled([1, 2, 3].map(() => instruct(core, runId, nodeId, MiB)))
  assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected', 'rejected'])
})

test('the objects that messages name and the runs that have not finished are limited, and are there for metrics', async () => {
  await using core = await SuperlinkCore.start({ quotas: { runObjects: 20, runs: 2 } })
  const metrics = new Metrics()
  tellQuotas(metrics, core.ctx.quotas)
  const run = await core.run()
  const { deflated } = core.instruction(run.runId, 7n)
  const push = async (count: number) => {
    using _names = await core.ctx.quotas.takeMessages(run.runId, Array(count).fill(deflated.tree))
  }
  await push(2)
  await assert.rejects(push(20), /may take 20 objects \(--quota-run-objects of the SuperLink\)/)
  const second = await core.run()
  const start = () =>
    startRun(core.ctx, {
      ...{ fab: emptyFab(), overrides: {}, federation: '@none/default', simulation: undefined },
      owner: { id: 'me', name: 'me', organization: '' },
    })
  await assert.rejects(start(), {
    code: 'too-many-runs',
    message:
      '2 runs have not finished, as many as --quota-runs of the SuperLink allows: wait for one to finish, or stop one with flwr stop.',
  })
  const { body } = await metrics.text()
  assert.match(body, /^trellis_quota_limit\{quota="runs"\} 2$/m)
  assert.match(body, /^trellis_quota_used\{quota="runs"\} 2$/m)
  await core.stop(second.runId)
  await start()
})

test('a quota that is wrong is named', () => {
  const parse = (...options: string[]) => parseSuperlinkConfig(['--insecure', ...options])
  assert.equal(parse('--quota-disk', '500g')?.quotas.disk, 500 * 1024 * MiB)
  assert.equal(parse('--quota-node-disk', 'off')?.quotas.nodeDisk, undefined)
  for (const [flag, value] of [
    ['--quota-disk', '5'],
    ['--quota-run-disk', 'much'],
    ['--quota-runs', '0'],
    ['--quota-run-log', '2G'],
  ] as const)
    assert.throws(
      () => parse(flag, value),
      (error) => error instanceof UsageError && error.message.startsWith(`${flag} must be`),
    )
})
