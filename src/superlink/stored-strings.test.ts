import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyFab, SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { UserConfig } from '../base/user-config.ts'
import { generateNodeKey, isPublicKeyPem } from '../identity/node-key.ts'
import { encodeObject, objectId } from '../objects/object-format.ts'
import { registerKey } from './nodes/nodes.ts'
import { appendEvents } from './runs/events.ts'
import { startRun } from './runs/start.ts'

/** What peers send and the SuperLink keeps has a limit; over it there is a refusal that says so, or less is kept. */

const refusedWith = (sentence: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DomainError, String(error))
  assert.match(error.message, sentence)
  return true
}

test('the key of a SuperNode is one public key as PEM, and nothing else', () => {
  const pem = Buffer.from(generateNodeKey().publicKeyPem)
  assert.ok(isPublicKeyPem(pem))
  const padded = [
    Buffer.from('key'),
    Buffer.concat([pem, Buffer.alloc(30 * 1024 * 1024, '\n')]),
    Buffer.concat([pem, pem]),
  ]
  for (const bytes of [...padded, Buffer.concat([Buffer.from('x\n'), pem])]) assert.equal(isPublicKeyPem(bytes), false)
})

test('the key, the name and the place of a registered SuperNode are bounded', async () => {
  await using core = await SuperlinkCore.start()
  const owner = { id: 'a', name: 'a' }
  const long = 'x'.repeat(2000)
  const register = async (key: string, label = {}) => registerKey(core.ctx, key, owner, label)
  await assert.rejects(register(long), refusedWith(/more than the 1024 of node\.public_key/))
  await assert.rejects(register('k', { name: long }), refusedWith(/at most 256 characters/))
  const place = `${'0'.repeat(100)}1,2`
  await assert.rejects(register('k', { location: place }), refusedWith(/is no location/))
})

test('the overrides of a run are bounded by number, key, value and all together', async () => {
  await using core = await SuperlinkCore.start()
  const start = (overrides: UserConfig) =>
    startRun(core.ctx, {
      fab: emptyFab(),
      overrides,
      federation: '@none/default',
      simulation: undefined,
      owner: { id: 'a', name: 'a', organization: '' },
    })
  const keys = (count: number, value: string): UserConfig =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`key-${index}`, value]))
  const cases: readonly [UserConfig, RegExp][] = [
    [keys(1001, ''), /has more than 1000 keys/],
    [{ ['k'.repeat(257)]: 1n }, /has a key of more than 256 bytes/],
    [{ k: 'v'.repeat(65 * 1024) }, /has a value of more than 65536 bytes: 'k'/],
    [keys(10, 'v'.repeat(60 * 1024)), /has more than 262144 bytes/],
  ]
  for (const [overrides, sentence] of cases) await assert.rejects(start(overrides), refusedWith(sentence))
  assert.deepEqual(await core.ctx.db.read.selectFrom('run').selectAll().execute(), [])
})

test('type and group of a message are bounded, and a long reason is kept shortened', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  const nodeId = await core.join('key')
  const message = core.instruction(runId, nodeId)
  const changed = (metadata: object) => ({ ...message, metadata: { ...message.metadata, ...metadata } })
  const long = 'x'.repeat(1_000_000)
  await assert.rejects(
    core.push(runId, [changed({ messageType: `train.${long}` })]),
    refusedWith(/message type of more than 256 bytes/),
  )
  await assert.rejects(core.push(runId, [changed({ groupId: long })]), refusedWith(/group id of more than 256 bytes/))
  await core.push(runId, [message])
  await core.claim(nodeId)
  const { accepted } = await core.reply(core.replyTo(message, { error: { code: 2, reason: long } }))
  assert.equal(accepted, true)
  const [reply] = await core.collect(runId, [message.messageId])
  assert.equal(reply?.error?.reason.length, limits.reasonCharactersMax)
  await core.ctx.db.transaction((tx, afterCommit) => core.ctx.tasks.finish(tx, afterCommit, taskId, 'failed', long))
  const task = await core.ctx.db.read.selectFrom('task').select('details').executeTakeFirstOrThrow()
  assert.equal(task.details.length, limits.reasonCharactersMax)
})

test('an object over its limit is refused by the store itself', async () => {
  await using core = await SuperlinkCore.start()
  const bytes = encodeObject('ArrayChunk', [], new Uint8Array(limits.objectBytesMax))
  await assert.rejects(core.ctx.objects.put(objectId(bytes), bytes), refusedWith(/more than 62914560/))
})

test('events are bounded in bytes, whatever characters they have', async () => {
  await using core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  await appendEvents(core.ctx, { runId, taskId }, [
    { event: 'é'.repeat(101), data: '{}' },
    { event: 'a', data: JSON.stringify({ text: 'é'.repeat(limits.eventBytesMax / 2) }) },
    { event: 'kept', data: '{}' },
  ])
  const events = await core.ctx.db.read.selectFrom('task_event').select('event').execute()
  assert.deepEqual(
    events.map(({ event }) => event),
    ['kept'],
  )
})
