import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildFab } from '../../src/fab/bundle.ts'
import { type DeflatedMessage, deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { ConfigRecord, RecordDict } from '../../src/message/records.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { NextSuperlink, type NextSuperlinkOptions } from '../harness/next-superlink.ts'
import { eventually, start } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'

const nodeId = 7n

/** Logs each execution, so that a second one of the same message shows. */
const client = `
import { ClientApp, log } from 'trellis-fl'
export const app = new ClientApp().query((message) => {
  log.info(\`executed \${message.metadata.messageId}\`)
  return message.reply(message.content)
})
`

function instruction(runId: bigint, name: string): DeflatedMessage {
  const content = new RecordDict({ config: new ConfigRecord({ name }) })
  const message = Message.create({ content, messageType: 'query', dstNodeId: nodeId })
  return deflateMessage(message, { ...message.metadata, runId, srcNodeId: 1n })
}

/** A SuperNode of ours at a SuperLink that behaves like Flower 1.43. */
async function setUp(options: Omit<NextSuperlinkOptions, 'fab' | 'nodeId'> = {}) {
  const stack = new AsyncDisposableStack()
  const directory = stack.use(temporaryDirectory())
  const { hash, bytes } = buildFab(writeApp(directory.file('app'), { server: client, client }))
  const superlink = stack.use(await NextSuperlink.start({ ...options, fab: { hash, bytes }, nodeId }))
  const env = { FLWR_HOME: directory.file('home'), NO_COLOR: '1' }
  const args = ['--insecure', '--superlink', superlink.address]
  const node = stack.use(start('flower-supernode', args, { cwd: directory.path, env }))
  await node.line(/SuperNode ID: 7/)
  const executions = (one: DeflatedMessage): number => node.said.split(`executed ${one.messageId}`).length - 1
  return { superlink, node, executions, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

test('a SuperLink that repeats messages until they are confirmed gets one reply to each, and the node goes on', async () => {
  await using place = await setUp()
  const { superlink } = place
  // The second waits for its turn in the same run; without its confirmation the third would never be handed out.
  const all = [instruction(3n, 'a'), instruction(3n, 'b'), instruction(4n, 'c')]
  for (const one of all) superlink.push(one)
  await eventually('three replies', () => superlink.count('pushObject') === 3)
  await eventually('three confirmations', () => all.every((one) => superlink.isConfirmed(one.messageId)))
  assert.deepEqual(superlink.repliedTo.toSorted(), all.map((one) => one.messageId).toSorted())
  assert.deepEqual(superlink.errors, [])
  assert.deepEqual(all.map(place.executions), [1, 1, 1])
})

test('a message that comes again after its confirmation is not executed again, and the node asks less and less often', async () => {
  await using place = await setUp({ ignoresConfirmations: true })
  const { superlink, node } = place
  const one = instruction(3n, 'a')
  superlink.push(one)
  const [warning] = await node.line(/The SuperLink hands out a message again .*/)
  assert.match(warning, /made for Flower 1\.27 to 1\.43: the SuperLink may be newer/)
  await eventually('the reply', () => superlink.repliedTo.length > 0)
  const before = superlink.count('pullMessages')
  await eventually('two more pulls', () => superlink.count('pullMessages') >= before + 2)
  assert.equal(place.executions(one), 1)
  assert.deepEqual(superlink.repliedTo, [one.messageId])
  assert.equal(node.said.split('hands out a message again').length, 2)
  // Pauses double from 250 ms.
  assert.ok(superlink.count('pullMessages') < 30, `${superlink.count('pullMessages')} pulls`)
})

test('a message whose reply is refused, or whose objects are gone, is confirmed when it is dropped', async () => {
  await using place = await setUp({ results: { another: 0 } })
  const { superlink, node } = place
  const refused = instruction(3n, 'a')
  superlink.push(refused)
  await node.line(/An instruction is not answered: the SuperLink does not take a reply to it any more/)
  await eventually('its confirmation', () => superlink.isConfirmed(refused.messageId))
  const gone = { ...instruction(4n, 'b'), objects: new Map<string, () => Uint8Array>() }
  superlink.push(gone)
  await eventually('its confirmation', () => superlink.isConfirmed(gone.messageId))
  assert.match(superlink.errors.join(), /The message could not be fetched: Object \w+ is not known at the other end/)
})
