import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { PlayedApp } from '../../../test/harness/app-hosts.ts'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { InMemoryClient } from '../../../test/harness/in-memory-client.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { nothing, type OwnMessage, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import { DomainError } from '../../base/errors.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'
import { Runtime } from '../../gen/flwr/proto/runtime_pb.ts'
import { createRuntimeService } from '../../tasks/runtime-service.ts'
import { createVirtualBackend } from './client-backend.ts'

const seeds = 3
const stepsPerSeed = 60

/** Virtual nodes whose ClientApps come, go and answer at random, several at once. */
async function play(seed: number): Promise<void> {
  const random = randomFrom(seed)
  await using core = await SuperlinkCore.start({ simulatedCpus: 3, clock: new FakeClock(Date.now()) })
  const { ctx, fleet } = core
  assert.ok(fleet)
  const simulation = create(SimulationConfigSchema, { numSupernodes: 5 })
  const { runId } = await core.run({ simulation })
  const doomed = await core.run({ simulation })
  const backend = createVirtualBackend(ctx, fleet)
  const options = { tasks: ctx.tasks, clock: ctx.clock, backend, checkSuperexec: async () => {} }
  const client = new InMemoryClient([createRuntimeService(options)])
  const asked: OwnMessage[] = []
  const worked = new Set<string>()
  const apps: { app: PlayedApp; instruction: OwnMessage; nodeId: bigint; runId: bigint }[] = []
  let isStopped = false

  const push = async (): Promise<void> => {
    const run = !isStopped && random(4) === 0 ? doomed.runId : runId
    const nodes = await fleet.listReachable(run)
    const message = core.instruction(run, nodes[random(nodes.length)]?.nodeId ?? 0n, { bytes: 16 + random(2) * 40_000 })
    asked.push(message)
    await core.push(run, [message])
  }
  const launch = async (): Promise<void> => {
    const { token, task } = await client.call(
      Runtime.method.acquireTask,
      { supportedTaskTypes: ['flwr-clientapp'] },
      { waitMs: 0 },
    )
    if (!task) return
    const app = new PlayedApp(client, token)
    const { context } = await app.call('pullTaskInput', {})
    const id = (await app.call('pullMessages', {})).messagesList[0]?.metadata?.messageId ?? ''
    assert.ok(!worked.has(id), 'an instruction reaches an app twice')
    worked.add(id)
    const instruction = asked.find(({ messageId }) => messageId === id) as OwnMessage
    apps.push({ app, instruction, nodeId: context?.nodeId ?? 0n, runId: task.runId })
  }
  const answer = async (): Promise<void> => {
    const one = apps[random(apps.length)]
    if (!one) return
    const { app, instruction, nodeId } = one
    const reply = core.replyTo(instruction, { bytes: 16 + random(2) * 40_000 })
    const host = { superlink: core, runId: one.runId, nodeId } as unknown as Parameters<typeof app.reply>[0]
    await app.reply(host, reply, { upload: random(4) > 0 })
  }
  const end = async (): Promise<void> => {
    const [one] = apps.splice(random(apps.length), 1)
    await one?.app.call(
      'pushTaskOutput',
      random(3) > 0 ? { subStatus: 'completed' } : { subStatus: 'failed', details: 'no' },
    )
  }
  const stop = async (): Promise<void> => {
    if (isStopped || random(10) > 0) return
    isStopped = true
    await core.stop(doomed.runId)
  }
  const moves = [push, push, launch, launch, launch, answer, answer, end, end, stop]
  const make = async (): Promise<void> => {
    try {
      await moves[random(moves.length)]?.()
    } catch (error) {
      // A call that the end of its run or task has overtaken.
      if (!(error instanceof DomainError) || !expected.has(error.code)) throw error
    }
  }
  for (let step = 0; step < stepsPerSeed; step++) {
    await Promise.all(Array.from({ length: 1 + random(3) }, make))
    if (random(3) === 0) await settled(5)
  }

  // The rest comes to its end, while nothing new is asked.
  const open = asked.filter(({ metadata }) => metadata.runId === runId).map(({ messageId }) => messageId)
  const quietly = (move: () => Promise<void>) =>
    move().catch((error: unknown) => assert.ok(error instanceof DomainError))
  const endsAt = performance.now() + 120_000
  while ((await core.collect(runId, open)).length < open.length && performance.now() < endsAt) {
    await quietly(launch)
    await quietly(end)
    await settled(2)
  }
  const replies = await core.collect(runId, open)
  assert.equal(new Set(replies.map(({ metadata }) => metadata.replyToMessageId)).size, open.length)
  assert.equal(replies.length, open.length, 'each instruction is answered once')
  if (!isStopped) await core.stop(doomed.runId)
  await core.stop(runId)
  assert.equal(await ctx.tasks.haveWork(), false)
  assert.deepEqual(await core.leftovers(), nothing)
}

const expected = new Set(['token-invalid', 'task-state', 'run-not-running'])

test('virtual nodes answer each instruction once, in whatever order their apps come and go, and leave nothing', async () => {
  for (let seed = 0; seed < seeds; seed++) {
    try {
      await play(seed)
    } catch (error) {
      assert.fail(`Seed ${seed}: ${(error as Error).stack}`)
    }
  }
})
