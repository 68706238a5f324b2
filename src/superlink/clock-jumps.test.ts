import assert from 'node:assert/strict'
import { test } from 'node:test'
import { letPass, SettableClock } from '../../test/harness/fake-clock.ts'
import { SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { expireNodes } from './nodes/nodes.ts'
import { prolongLeases } from './prolong-leases.ts'

const hour = 3_600_000
const beatMs = 30_000

for (const [direction, setMs] of [
  ['forwards', hour],
  ['backwards', -hour],
] as const) {
  test(`when the clock jumps an hour ${direction}, nothing that lives is lost, and what has died is noticed as soon as ever`, async () => {
    const clock = new SettableClock()
    await using core = await SuperlinkCore.start({ clock, monotonicNow: () => clock.steadyNow() })
    const { ctx } = core
    const stop = new AbortController()
    const jobs = [core.time.watch(() => prolongLeases(ctx), stop.signal), ctx.tasks.watchLeases(stop.signal)]
    const nodeId = await core.join('node')
    const run = await core.run()
    const listReachable = async () => (await ctx.runNodes.listReachable(run.runId)).map((node) => node.nodeId)

    clock.setMs = setMs
    await expireNodes(ctx)
    assert.deepEqual(await listReachable(), [nodeId], 'before the next heartbeat')
    assert.ok(await ctx.tasks.findByToken(run.token))
    const isNoticed = () => core.lines.some((line) => line.includes(`has jumped 3600 s ${direction}`))
    await letPass(clock, 'a word about it', isNoticed, 5_000)
    await core.beat(nodeId)
    await ctx.tasks.heartbeat(run.taskId, { waitMs: 0, signal: stop.signal })
    clock.advance(beatMs)
    await expireNodes(ctx)
    assert.deepEqual(await listReachable(), [nodeId], 'after it')
    assert.ok(await ctx.tasks.findByToken(run.token))

    // Now both are gone.
    clock.advance(2 * beatMs)
    await expireNodes(ctx)
    assert.deepEqual(await listReachable(), [])
    assert.equal(await ctx.tasks.findByToken(run.token), undefined)
    stop.abort()
    await Promise.all(jobs)
  })
}

test('small corrections of the clock change nothing, however many there are', async () => {
  const clock = new SettableClock()
  await using core = await SuperlinkCore.start({ clock, monotonicNow: () => clock.steadyNow() })
  const stop = new AbortController()
  let jumps = 0
  const job = core.time.watch(async () => void jumps++, stop.signal)
  for (let step = 0; step < 20; step++) {
    clock.setMs += 2_000
    clock.advance(5_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(core.time.now(), clock.now())
  assert.equal(jumps, 0)
  stop.abort()
  await job
})
