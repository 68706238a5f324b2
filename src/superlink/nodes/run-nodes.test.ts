import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { type CoreRun, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'

interface Fleet extends AsyncDisposable {
  readonly core: SuperlinkCore
  readonly run: CoreRun
  /** Whether the node has been given its instruction. */
  isAtWork(nodeId: NodeId): Promise<boolean>
}

/** What runs may expect of their nodes, be they SuperNodes or virtual. */
const fleets: Readonly<Record<string, () => Promise<Fleet>>> = {
  async 'SuperNodes that have joined'() {
    const core = await SuperlinkCore.start()
    for (const key of ['a', 'b', 'c']) await core.join(key)
    const run = await core.run()
    const isAtWork = async (nodeId: NodeId) => (await core.claim(nodeId)) !== undefined
    return { core, run, isAtWork, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
  },
  async 'virtual nodes'() {
    const core = await SuperlinkCore.start({ simulatedCpus: 3 })
    const run = await core.run({ simulation: create(SimulationConfigSchema, { numSupernodes: 3 }) })
    const isAtWork = async (nodeId: NodeId) => {
      await settled()
      const tasks = await core.ctx.db.read
        .selectFrom('task')
        .select('task_id')
        .where('type', '=', 'flwr-clientapp')
        .execute()
      type TaskId = Parameters<NonNullable<typeof core.fleet>['workOf']>[0]
      return tasks.some((task) => core.fleet?.workOf(task.task_id as TaskId)?.nodeId === nodeId)
    }
    return { core, run, isAtWork, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
  },
}

for (const [name, start] of Object.entries(fleets)) {
  test(`${name}: a run reaches each of them, always in the same order, and no other node`, async () => {
    await using fleet = await start()
    const { core, run } = fleet
    const { runNodes, db } = core.ctx
    const list = async () => (await runNodes.listReachable(run.runId)).map(({ nodeId }) => nodeId)
    const nodeIds = await list()
    assert.equal(new Set(nodeIds).size, 3)
    assert.deepEqual(await list(), nodeIds)
    const ask = (nodeId: NodeId) =>
      Promise.all([
        db.transaction(async (tx) => (await runNodes.listAccepting(tx, run.runId, [nodeId])).has(nodeId)),
        runNodes.isReachable(run.runId, nodeId),
      ])
    for (const nodeId of nodeIds) assert.deepEqual(await ask(nodeId), [true, true])
    assert.deepEqual(await ask(5n as NodeId), [false, false])
  })

  test(`${name}: instructions come to work at the nodes that they are for`, async () => {
    await using fleet = await start()
    const { core, run, isAtWork } = fleet
    const [first, second, third] = (await core.ctx.runNodes.listReachable(run.runId)).map(({ nodeId }) => nodeId) as [
      NodeId,
      NodeId,
      NodeId,
    ]
    const { messageIds } = await core.push(run.runId, [
      core.instruction(run.runId, first),
      core.instruction(run.runId, third),
    ])
    assert.equal(messageIds.length, 2)
    assert.deepEqual(await Promise.all([first, second, third].map(isAtWork)), [true, false, true])
  })

  test(`${name}: the end of a run leaves none of them at work for it`, async () => {
    await using fleet = await start()
    const { core, run, isAtWork } = fleet
    const nodes = await core.ctx.runNodes.listReachable(run.runId)
    await core.push(
      run.runId,
      nodes.map(({ nodeId }) => core.instruction(run.runId, nodeId)),
    )
    await core.stop(run.runId)
    for (const { nodeId } of nodes) assert.equal(await isAtWork(nodeId), false)
  })
}
