import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { nothing, type OwnMessage, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'
import { pushInstructions } from '../delivery/instructions.ts'
import { appendEvents } from './events.ts'
import { appendLog } from './logs.ts'

const ended = { code: 'run-not-running' }
const asStored = ({ metadata, error, deflated }: OwnMessage) => ({ metadata, error, tree: deflated.tree })

/** Stops the run and does something of it, at the same moment, in either order. */
async function atTheEnd<T>(order: string, stop: () => Promise<boolean>, work: () => Promise<T>) {
  const [first, second] = order === 'stopped first' ? [stop, work] : [work, stop]
  const outcomes = await Promise.allSettled([first(), second()])
  return outcomes[order === 'stopped first' ? 1 : 0] as PromiseSettledResult<T>
}

for (const order of ['stopped first', 'pushed first'] as const) {
  test(`messages that are pushed while their run is stopped (${order}) leave nothing behind`, async () => {
    await using core = await SuperlinkCore.start()
    const nodeId = await core.join('node')
    const { runId } = await core.run()
    const messages = [core.instruction(runId, nodeId), core.instruction(runId, nodeId, { bytes: 100_000 })]
    const pushed = await atTheEnd(
      order,
      () => core.stop(runId),
      () => pushInstructions(core.ctx, runId, messages.map(asStored)),
    )
    if (order === 'stopped first')
      assert.deepEqual([pushed.status, (pushed as { reason?: unknown }).reason && 'refused'], ['rejected', 'refused'])
    else assert.equal(pushed.status, 'fulfilled')
    assert.deepEqual(
      await core.upload(messages[1] as OwnMessage).then((outcomes) => new Set(outcomes)),
      new Set(['unknown']),
    )
    assert.deepEqual(await core.leftovers(), nothing)
    assert.equal(await core.claim(nodeId), undefined)
    assert.equal(await core.ctx.tasks.haveWork(), false)
    assert.deepEqual(core.ctx.progress.of(runId), { asked: 0, replied: 0, failed: 0 })
  })

  test(`a simulated run that is stopped while messages are pushed (${order}) starts no more ClientApps`, async () => {
    await using core = await SuperlinkCore.start({ simulatedCpus: 4 })
    const { runId } = await core.run({ simulation: create(SimulationConfigSchema, { numSupernodes: 4 }) })
    const nodes = await core.fleet?.listReachable(runId)
    const messages = (nodes ?? []).map(({ nodeId }) => asStored(core.instruction(runId, nodeId)))
    assert.equal(messages.length, 4)
    await atTheEnd(
      order,
      () => core.stop(runId),
      () => pushInstructions(core.ctx, runId, messages),
    )
    await settled()
    const apps = await core.ctx.tasks.acquireOfRun('flwr-clientapp', runId)
    assert.equal(apps, undefined)
    assert.equal(await core.ctx.tasks.haveWork(), false, 'the SuperLink may end')
    assert.deepEqual(await core.leftovers(), nothing)
  })
}

test('a reply that comes while its run is stopped is not taken', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const instruction = core.instruction(runId, nodeId)
  await core.push(runId, [instruction])
  await core.claim(nodeId)
  const [, taken] = await Promise.all([core.stop(runId), core.reply(core.replyTo(instruction), { upload: false })])
  assert.deepEqual(taken, { accepted: false, objectsToPush: [] })
  assert.deepEqual(await core.leftovers(), nothing)
})

test('a request for replies that the end of the run overtakes is refused, and stores no errors', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const instruction = core.instruction(runId, nodeId, { ttl: 10 })
  await core.push(runId, [instruction])
  core.clock.advance(11_000)
  const stopped = core.stop(runId)
  await assert.rejects(
    core.collect(runId, [instruction.messageId]).then(() => core.collect(runId, ['x'])),
    {
      code: 'run-not-running',
    },
  )
  await stopped
  assert.deepEqual(await core.leftovers(), nothing)
})

test('a held request for replies ends as soon as its run does', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  const nodeId = await core.join('node')
  const instruction = core.instruction(runId, nodeId)
  await core.push(runId, [instruction])
  const held = core.collect(runId, [instruction.messageId], { waitMs: 600_000 })
  await core.stop(runId)
  await assert.rejects(held, { code: 'run-not-running' })
})

test('log lines and events that come after the end of their run are refused', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  await appendLog(core.ctx, runId, ['before\n'])
  const event = { event: 'round', data: '{}' }
  const late = await Promise.allSettled([
    core.stop(runId),
    appendLog(core.ctx, runId, ['after\n']),
    appendEvents(core.ctx, { runId, taskId }, [event]),
  ])
  assert.deepEqual(
    late.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected'],
  )
  await assert.rejects(appendLog(core.ctx, runId, ['after\n']), ended)
  await assert.rejects(appendEvents(core.ctx, { runId, taskId }, [event]), ended)
  const log = await core.ctx.db.read.selectFrom('run_log').select('text').execute()
  assert.deepEqual(
    log.map(({ text }) => text),
    ['before\n'],
  )
})

test('a run ends once: it cannot be stopped again, nor when it never was', async () => {
  await using core = await SuperlinkCore.start()
  const { runId } = await core.run()
  assert.equal(await core.stop(runId), true)
  await assert.rejects(core.stop(runId), { code: 'run-finished' })
  await assert.rejects(core.stop(5n as RunId), { code: 'run-not-found' })
})

test('the end of one run leaves the messages of another', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId: NodeId = await core.join('node')
  const [one, other] = [await core.run(), await core.run()]
  const kept = core.instruction(other.runId, nodeId)
  await core.push(one.runId, [core.instruction(one.runId, nodeId)])
  await core.push(other.runId, [kept])
  await core.stop(one.runId)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, kept.messageId)
  await core.stop(other.runId)
  assert.deepEqual(await core.leftovers(), nothing)
})
