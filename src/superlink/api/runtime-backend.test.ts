import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Task } from '../../tasks/task.ts'
import { createBells, type SuperlinkContext } from '../context.ts'
import type { Node } from '../nodes/node.ts'
import { createSuperlinkBackend } from './runtime-backend.ts'

const task = { runId: 7n as RunId } as Task
const signal = new AbortController().signal

function setUp() {
  const online: Node[] = []
  const bells = createBells()
  let looks = 0
  const listReachable = async (): Promise<Node[]> => {
    looks++
    return [...online]
  }
  const runNodes = { listReachable }
  // Of all that a SuperLink has, this question needs no more.
  const backend = createSuperlinkBackend({ bells, runNodes } as unknown as SuperlinkContext)
  const join = (nodeId: bigint): void => {
    online.push({ nodeId: nodeId as NodeId, status: 'online', registeredAt: 0, heartbeatIntervalMs: 0 } as Node)
    bells.replies.ringAll()
  }
  return { backend, bells, join, looks: () => looks }
}

test('a ServerApp that waits for nodes is answered when one joins, and asks nothing meanwhile', async () => {
  const { backend, bells, join, looks } = setUp()
  const answer = backend.getNodes(task, { knownNodes: 0, waitMs: 60_000, signal })
  await new Promise((resolve) => setTimeout(resolve, 20))
  // Something else happens in the run: that is no answer.
  bells.replies.ring(task.runId)
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(looks(), 2)
  join(5n)
  assert.deepEqual(
    (await answer).nodes?.map(({ nodeId }) => nodeId),
    [5n],
  )
})

test('whoever knows another number of nodes, or does not wait, is answered at once', async () => {
  const { backend, join } = setUp()
  join(5n)
  const count = async (wait?: Parameters<typeof backend.getNodes>[1]) =>
    (await backend.getNodes(task, wait)).nodes?.length
  assert.equal(await count(), 1)
  assert.equal(await count({ knownNodes: 0, waitMs: 60_000, signal }), 1)
  assert.equal(await count({ knownNodes: 1, waitMs: 0, signal }), 1)
})

test('an app whose run has ended is told that its token is void, whatever it was about to push', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId, taskId } = await core.run()
  const backend = createSuperlinkBackend(core.ctx)
  const ended = { runId, taskId } as Task
  const { deflated } = core.instruction(runId, nodeId)
  await core.stop(runId)
  const messages = { messagesList: [deflated.wire], messageObjectTrees: [deflated.tree] }
  const calls = [
    backend.pushLogs(ended, { logs: ['late\n'] } as Parameters<typeof backend.pushLogs>[1]),
    backend.pushTaskEvents(ended, { events: [{ event: 'e', data: '{}' }] } as Parameters<
      typeof backend.pushTaskEvents
    >[1]),
    backend.pushMessages(ended, messages as Parameters<typeof backend.pushMessages>[1]),
  ]
  for (const call of calls) await assert.rejects(call, { code: 'token-invalid' })
})
