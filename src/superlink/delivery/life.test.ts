import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { expireNodes } from '../nodes/nodes.ts'
import * as life from './life.ts'
import { find, type MessageState, type StoredMessage } from './message-store.ts'
import { recoverDelivery } from './recover.ts'

async function setUp() {
  const core = await SuperlinkCore.start()
  const nodeId = await core.join('node')
  const { runId } = await core.run()
  const asked = core.instruction(runId, nodeId, { ttl: 1000 })
  const states: (MessageState | 'forgotten')[] = []
  const stateNow = async () => (await find(core.ctx.db.read, asked.messageId))?.state ?? 'forgotten'
  /** Does something, and notes the state after it. */
  const after = async (work: Promise<unknown>): Promise<void> => {
    await work
    states.push(await stateNow())
  }
  /** Each state follows from the one before it, as the table says. */
  const ensureLawful = (): void => {
    states.forEach((state, index) => {
      const before = states[index - 1]
      const next = life.transitions.filter(({ from }) => from === before).map(({ to }) => to)
      const lawful: readonly unknown[] =
        before === undefined ? ['announced', 'offered'] : [before, 'forgotten', ...next]
      assert.ok(lawful.includes(state), `${before} became ${state}`)
    })
  }
  return {
    core,
    nodeId,
    runId,
    asked,
    states,
    stateNow,
    after,
    ensureLawful,
    [Symbol.asyncDispose]: () => core[Symbol.asyncDispose](),
  }
}

test('an instruction is announced, offered, fetched, held, answered and forgotten', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, states, after, ensureLawful } = world
  const reply = core.replyTo(asked)
  await after(core.push(runId, [asked], { upload: false }))
  await after(core.upload(asked))
  await after(core.claim(nodeId))
  await after(core.confirm(asked))
  await after(core.reply(reply, { upload: false }))
  await after(core.upload(reply))
  await after(core.confirm(reply))
  assert.deepEqual(states, ['announced', 'offered', 'fetched', 'held', 'held', 'answered', 'forgotten'])
  ensureLawful()
})

test('an instruction whose node starts anew is offered again, and whose reply is withdrawn too', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, states, after, ensureLawful } = world
  await after(core.push(runId, [asked]))
  await after(core.claim(nodeId))
  await after(core.join('node'))
  await core.claim(nodeId)
  await after(core.reply(core.replyTo(asked), { upload: false }))
  core.clock.advance(61_000)
  await after(expireNodes(core.ctx))
  await after(core.join('node'))
  await after(core.stop(runId))
  assert.deepEqual(states, ['offered', 'fetched', 'offered', 'fetched', 'fetched', 'offered', 'forgotten'])
  ensureLawful()
})

test('a SuperLink that starts anew offers again what its nodes may not have received, and accepts their confirmation', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, states, after, ensureLawful } = world
  await after(core.push(runId, [asked]))
  await after(core.claim(nodeId))
  await after(recoverDelivery(core.ctx))
  await after(core.claim(nodeId))
  await after(recoverDelivery(core.ctx))
  await after(core.confirm(asked))
  await after(recoverDelivery(core.ctx))
  assert.deepEqual(states, ['offered', 'fetched', 'offered', 'fetched', 'offered', 'held', 'held'])
  ensureLawful()
})

test('a SuperLink that starts anew does not offer again what a node has begun to answer', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, stateNow } = world
  await core.push(runId, [asked])
  await core.claim(nodeId)
  await core.reply(core.replyTo(asked), { upload: false })
  await recoverDelivery(core.ctx)
  assert.equal(await stateNow(), 'fetched')
})

test('a call that hung up gives back what it fetched, and nothing that was fetched again or answered since', async () => {
  await using world = await setUp()
  const { core, nodeId, runId, asked, stateNow } = world
  const { db } = core.ctx
  await core.push(runId, [asked])
  const first = await core.claim(nodeId)
  const giveBack = (message = first) =>
    db.transaction((tx, afterCommit) => life.giveBack(core.ctx, tx, afterCommit, message as StoredMessage))
  assert.equal(await giveBack(), true)
  core.clock.advance(1)
  const second = await core.claim(nodeId)
  assert.equal(second?.metadata.messageId, asked.messageId)
  assert.equal(await giveBack(), false, 'the node has fetched it again')
  await core.reply(core.replyTo(asked))
  assert.equal(await giveBack(second), false, 'it is answered')
  assert.equal(await stateNow(), 'answered')
})

test('no other file changes the state of messages', () => {
  const superlink = join(import.meta.dirname, '..')
  const sources = readdirSync(superlink, { recursive: true, encoding: 'utf8' }).filter((path) =>
    /(?<!\.test)\.ts$/.test(path),
  )
  const writes = /messageStore\.(insert|move|remove)\w*\b/
  const writers = sources.filter((path) => writes.test(readFileSync(join(superlink, path), 'utf8')))
  assert.deepEqual(writers, [join('delivery', 'life.ts')])
})
