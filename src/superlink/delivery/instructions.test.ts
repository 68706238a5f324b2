import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { fleetCalls } from '../../../test/harness/fleet-calls.ts'
import { type OwnMessage, SuperlinkCore, settled } from '../../../test/harness/superlink-core.ts'
import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { readCarried } from '../../objects/carried-objects.ts'
import { unregisterNode } from '../nodes/nodes.ts'
import { claimInstruction, offerAgain, pushInstructions } from './instructions.ts'

const asStored = ({ metadata, error, deflated }: OwnMessage) => ({ metadata, error, tree: deflated.tree })

async function setUp() {
  const core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  /** A call that is held until there is an instruction. */
  const hold = (signal = new AbortController().signal, endedAfter?: bigint) =>
    claimInstruction(core.ctx, nodeId, { waitMs: 60_000, signal, hungUp: signal, endedAfter, takesWhole: true })
  return { core, nodeId, runId, hold, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('a SuperNode receives its instructions once, in the order in which they were pushed', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const messages = Array.from({ length: 5 }, () => core.instruction(runId, nodeId))
  await core.push(runId, messages)
  const claims = await Promise.all(messages.map(() => core.claim(nodeId)))
  assert.deepEqual(
    claims.map((message) => message?.metadata.messageId),
    messages.map(({ messageId }) => messageId),
  )
  assert.equal(await core.claim(nodeId), undefined)
})

test('a SuperNode that waits is answered when an instruction is pushed, and another node is not', async () => {
  await using world = await setUp()
  const { core, runId, hold } = world
  const other = await core.join('other')
  const held = hold()
  const forOther = core.instruction(runId, other)
  const message = core.instruction(runId, world.nodeId)
  await core.push(runId, [forOther, message])
  assert.equal((await held)?.metadata.messageId, message.messageId)
  assert.equal((await core.claim(other))?.metadata.messageId, forOther.messageId)
})

test('calls that wait receive what one push has for their SuperNode, each once and in one transaction', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, hold } = world
  const held = [hold(), hold()]
  await settled()
  const messages = Array.from({ length: 3 }, () => core.instruction(runId, nodeId))
  const transactions = mock.method(core.ctx.db, 'transaction')
  await core.push(runId, messages, { carries: true, upload: false })
  const received = await Promise.all(held)
  assert.equal(transactions.mock.callCount(), 1)
  transactions.mock.restore()
  const ids = messages.map(({ messageId }) => messageId)
  assert.deepEqual(received.map((message) => message?.metadata.messageId).toSorted(), ids.slice(0, 2).toSorted())
  assert.deepEqual(await Promise.all(messages.map((message) => core.stateOf(message))), [
    'fetched',
    'fetched',
    'offered',
  ])
  assert.equal((await core.claim(nodeId))?.metadata.messageId, ids[2])
  assert.equal(await core.claim(nodeId), undefined)
})

test('a call that waits goes on waiting when a push for its SuperNode fails, and receives the next one', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, hold } = world
  const held = hold()
  await settled()
  const message = core.instruction(runId, nodeId)
  const { transaction } = core.ctx.db
  const failing: typeof transaction = (body) =>
    transaction.call(core.ctx.db, async (tx, afterCommit) => {
      await body(tx, afterCommit)
      throw new Error('The disk is full.')
    }) as never
  const mocked = mock.method(core.ctx.db, 'transaction', failing, { times: 1 })
  await assert.rejects(core.push(runId, [message]), /disk is full/)
  mocked.mock.restore()
  await settled()
  assert.equal(await core.stateOf(message), undefined)
  await core.push(runId, [message])
  assert.equal((await held)?.metadata.messageId, message.messageId)
})

test('an instruction whose receiver hung up meanwhile goes to the next call', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, hold } = world
  const hangUp = new AbortController()
  const held = hold(hangUp.signal)
  const message = core.instruction(runId, nodeId)
  const pushed = core.push(runId, [message])
  hangUp.abort()
  await pushed
  assert.equal(await held, undefined)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, message.messageId)
})

test('an instruction whose response breaks off while it is written goes to the next call', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const [first, second] = [core.instruction(runId, nodeId), core.instruction(runId, nodeId)]
  await core.push(runId, [first, second])
  const claimed: (string | undefined)[] = []
  const pull = fleetCalls([], {
    handle: async (_name, { signal, hungUp }) => {
      const wait = { waitMs: 0, signal, hungUp, endedAfter: undefined, takesWhole: false }
      claimed.push((await claimInstruction(core.ctx, nodeId, wait))?.metadata.messageId)
    },
  })
  const [brokenOff, later] = [new AbortController(), new AbortController()]
  await pull('pullMessages', brokenOff.signal)
  brokenOff.abort()
  await settled()
  await pull('pullMessages', later.signal)
  assert.deepEqual(claimed, [first.messageId, first.messageId])
  assert.equal((await core.claim(nodeId))?.metadata.messageId, second.messageId)
  // What has been confirmed since does not come again.
  await core.confirm(first)
  later.abort()
  await settled()
  assert.equal(await core.claim(nodeId), undefined)
})

test('a SuperNode that says that a response was lost receives again what it has not confirmed', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const [confirmed, lost, next] = [1, 2, 3].map(() => core.instruction(runId, nodeId)) as [
    OwnMessage,
    OwnMessage,
    OwnMessage,
  ]
  await core.push(runId, [confirmed, lost])
  await core.claim(nodeId)
  await core.confirm(confirmed)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, lost.messageId)
  await core.push(runId, [next])
  await offerAgain(core.ctx, new LogThrottle(core.clock), nodeId)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, lost.messageId)
  assert.equal((await core.claim(nodeId))?.metadata.messageId, next.messageId)
  assert.equal(await core.claim(nodeId), undefined)
})

test('a SuperNode that waits gets the news that a run has ended, once', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, hold } = world
  const { endedRuns } = core.ctx.tasks
  await core.push(runId, [core.instruction(runId, nodeId)])
  await core.claim(nodeId)
  const position = endedRuns.position(0n)
  const held = hold(undefined, position)
  const startedAt = performance.now()
  await core.stop(runId)
  assert.equal(await held, undefined)
  assert.ok(performance.now() - startedAt < 60_000, 'it waited for nothing')
  const { endedRunIds, endedRunsSeen } = endedRuns.news(position, nodeId)
  assert.deepEqual(endedRunIds, [runId])
  assert.deepEqual(endedRuns.news(endedRunsSeen, nodeId).endedRunIds, [])
})

test('an instruction that has expired is not handed out', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  await core.push(runId, [core.instruction(runId, nodeId, { ttl: 30 })])
  core.clock.advance(30_001)
  assert.equal(await core.claim(nodeId), undefined)
})

test('instructions to nodes that are unknown or were unregistered are refused one by one, to nodes offline taken', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const [gone, silent] = [await core.join('gone'), await core.join('silent')]
  await unregisterNode(core.ctx, gone)
  core.clock.advance(61_000)
  const messages = [5n as NodeId, gone, silent, nodeId].map((to) => core.instruction(runId, to))
  const { messageIds } = await core.push(runId, messages, { upload: false })
  assert.deepEqual(messageIds, ['', '', messages[2]?.messageId, messages[3]?.messageId])
})

test('a push that holds one malformed message, or too many, is refused whole', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const { runId: another } = await core.run()
  const good = asStored(core.instruction(runId, nodeId))
  const expired = { ...good, metadata: { ...good.metadata, ttl: 0 } }
  await assert.rejects(pushInstructions(core.ctx, runId, [good, expired]), { code: 'invalid-request' })
  const foreign = asStored(core.instruction(another, nodeId))
  await assert.rejects(pushInstructions(core.ctx, runId, [good, foreign]), { code: 'not-of-this-task' })
  const many = Array(limits.messagesPerPushMax + 1).fill(good)
  await assert.rejects(pushInstructions(core.ctx, runId, many), /More than 10000 messages in one push/)
  assert.equal((await core.leftovers()).message, 0)
})

test('the same push again, after its response was lost, changes nothing and asks for what is missing', async () => {
  await using world = await setUp()
  const { core, nodeId, runId } = world
  const message = core.instruction(runId, nodeId)
  const first = await core.push(runId, [message], { upload: false })
  const [id = '', bytes] = [...message.deflated.objects][0] ?? []
  await core.ctx.objects.put(id, (bytes as () => Uint8Array)())
  const again = await core.push(runId, [message], { upload: false })
  assert.deepEqual(again.messageIds, first.messageIds)
  assert.deepEqual(
    again.objectsToPush,
    first.objectsToPush.filter((one) => one !== id),
  )
  await core.claim(nodeId)
  assert.equal(await core.claim(nodeId), undefined)
})

test('a node receives the messages of one push in their order, whether or not their objects are here', async () => {
  await using core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const sent = Array.from({ length: 3 }, () => core.instruction(runId, nodeId))
  const second = sent[1] as OwnMessage
  const carried = await readCarried(
    [...second.deflated.objects.values()].map((read) => read()),
    [second.deflated.tree],
    1e6,
  )
  await pushInstructions(core.ctx, runId, sent.map(asStored), carried)
  const received: (string | undefined)[] = []
  for (let index = 0; index < 3; index++) received.push((await core.claim(nodeId))?.metadata.messageId)
  assert.deepEqual(
    received,
    sent.map(({ messageId }) => messageId),
  )
})
