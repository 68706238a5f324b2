import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { generateNodeKey, type NodeKey, signNodeCall } from '../../src/identity/node-key.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { ConfigRecord, RecordDict } from '../../src/message/records.ts'
import { routeOf } from '../../src/rpc/route.ts'
import { askingServer, countingClient } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'

/** What programs of Flower 1.41 rely on at an HTTP SuperLink, call by call, as they make them: none asks to be held. */

type Method = { name: string; parent: { name: string }; input: DescMessage; output: DescMessage }
type Headers = Readonly<Record<string, string>>

/** One call as those programs make it, with the bare answer. */
async function post(address: string, route: string, body: Uint8Array, headers: Headers = {}): Promise<Response> {
  const type = { 'content-type': 'application/protobuf' }
  return fetch(`http://${address}/v1/${route}`, { method: 'POST', headers: { ...type, ...headers }, body })
}

async function call<M extends Method>(
  address: string,
  method: M,
  request: MessageInitShape<M['input']>,
  headers: Headers = {},
): Promise<MessageShape<M['output']>> {
  const body = toBinary(method.input, create(method.input, request))
  const response = await post(address, routeOf(method), body, headers)
  assert.equal(response.status, 200, `${method.name}: ${response.status} ${await response.clone().text()}`)
  return fromBinary(method.output, new Uint8Array(await response.arrayBuffer())) as MessageShape<M['output']>
}

const release = (version: string) => ({ 'flwr-package-name': 'flwr', 'flwr-package-version': version })

async function refusal(response: Response): Promise<[number, unknown]> {
  return [response.status, await response.json()]
}

async function signed(key: NodeKey, at = Date.now()): Promise<Record<string, string>> {
  const { headers, binaryHeaders } = await signNodeCall(key, at)
  const texts = Object.entries(binaryHeaders ?? {}).map(([name, bytes]) => [
    name,
    Buffer.from(bytes).toString('base64'),
  ])
  return { ...headers, ...Object.fromEntries(texts) }
}

async function join(address: string, key: NodeKey): Promise<bigint> {
  const { publicKeyPem: publicKey } = key
  await call(address, Fleet.method.registerNode, { publicKey }, await signed(key))
  const request = { publicKey, heartbeatInterval: 30 }
  const { nodeId } = await call(address, Fleet.method.activateNode, request, await signed(key))
  return nodeId
}

test('a node of the HTTP generation that does not prove its identity always gets the same sentence', async () => {
  await using deployment = await Deployment.create()
  const address = deployment.mainAddress
  const key = generateNodeKey()
  const nodeId = await join(address, key)
  const pull = toBinary(Fleet.method.pullMessages.input, create(Fleet.method.pullMessages.input, { node: { nodeId } }))
  const invalid = [401, { detail: 'Invalid SuperNode authentication' }]
  const good = await signed(key)
  const { 'flwr-public-key': publicKey = '', 'flwr-signature': signature = '' } = good
  const renamed = { 'flwr-public-key-bin': publicKey, 'flwr-signature-bin': signature }
  const tampered: Record<string, Headers> = {
    'no headers': {},
    'the names of gRPC': { 'flwr-timestamp': good['flwr-timestamp'] ?? '', ...renamed },
    'base64 without padding': { ...good, 'flwr-signature': `${signature.replaceAll('=', '')}A` },
    'an old time': await signed(key, Date.now() - 310_000),
    'a time to come': await signed(key, Date.now() + 10_000),
    'no time': { ...good, 'flwr-timestamp': 'yesterday' },
    'an unregistered key': await signed(generateNodeKey()),
  }
  for (const [what, headers] of Object.entries(tampered))
    assert.deepEqual(await refusal(await post(address, 'fleet/pull-messages', pull, headers)), invalid, what)

  const foreign = { publicKey: generateNodeKey().publicKeyPem, heartbeatInterval: 30 }
  for (const method of [Fleet.method.registerNode, Fleet.method.activateNode] as const) {
    const body = toBinary(method.input as DescMessage, create(method.input as DescMessage, foreign))
    assert.deepEqual(await refusal(await post(address, routeOf(method), body, await signed(key))), invalid, method.name)
  }
  const wrongType = await post(address, 'fleet/pull-messages', pull, { 'content-type': 'text/plain' })
  assert.deepEqual(await refusal(wrongType), [415, { code: 1002, detail: 'Unsupported Content-Type.' }])
  assert.equal((await fetch(`http://${address}/v1/fleet/pull-messages`)).status, 405)
  // Inside the window of five minutes.
  const beat = { node: { nodeId }, heartbeatInterval: 30 }
  assert.ok(
    (await call(address, Fleet.method.sendNodeHeartbeat, beat, await signed(key, Date.now() - 290_000))).success,
  )
})

test('a training as the HTTP generation does it: sessions, series, trees, and calls that are held for it', async () => {
  await using deployment = await Deployment.create({ superlinkArguments: ['--isolation', 'process'] })
  const address = deployment.mainAddress
  const { bytes, hash } = buildFab(
    deployment.writeApp({ server: askingServer, client: countingClient, config: 'actions = "a"' }),
  )
  const begin = () => call(address, Control.method.startRun, { fab: { hashStr: hash, content: bytes } })
  const launcher = call(address, Runtime.method.acquireTask, { supportedTaskTypes: ['flwr-serverapp'] })
  await delay(300)
  const first = await begin()
  const { task, token = '' } = await launcher
  assert.deepEqual([task?.type, token.length], ['flwr-serverapp', 256])
  const second = await begin()
  assert.ok(first.seriesId && second.seriesId && first.seriesId !== second.seriesId)
  const app = { 'flwr-task-token': token }
  const input = await call(address, Runtime.method.pullTaskInput, {}, app)
  const { context, run } = input
  assert.deepEqual([context?.seriesId, run?.seriesId, context?.nodeId], [first.seriesId, first.seriesId, 1n])
  assert.deepEqual(
    [run?.primaryTaskType, run?.primaryTaskId, input.taskId],
    ['flwr-serverapp', task?.taskId, task?.taskId],
  )
  assert.equal(run?.federation, '@none/default')

  const key = generateNodeKey()
  const nodeId = await join(address, key)
  const node = { nodeId }
  const runId = first.runId as bigint
  const fleet = async <M extends Method>(method: M, request: MessageInitShape<M['input']>) =>
    call(address, method, request, await signed(key))
  const content = new RecordDict({ config: new ConfigRecord({ text: 'x'.repeat(100) }) })
  const asked = Message.create({ content, messageType: 'query', dstNodeId: nodeId })
  const srcTaskId = input.taskId
  const instruction = deflateMessage(asked, { ...asked.metadata, runId, srcNodeId: 1n, srcTaskId })

  const waitingNode = fleet(Fleet.method.pullMessages, { node })
  await delay(300)
  const request = { messagesList: [instruction.wire], messageObjectTrees: [instruction.tree] }
  const pushed = await call(address, Runtime.method.pushMessages, request, app)
  assert.deepEqual(pushed.messageIds, [instruction.messageId])
  assert.ok(pushed.sessionId)
  const pulled = await waitingNode
  assert.equal(pulled.messagesList[0]?.metadata?.messageId, instruction.messageId)
  assert.equal(pulled.messagesList[0]?.metadata?.srcTaskId, srcTaskId)
  assert.equal(pulled.messageObjectTrees[0]?.objectId, instruction.messageId)

  // Asked for before it is there.
  const [objectId = ''] = pushed.objectsToPush
  const waitingObject = fleet(Fleet.method.pullObject, { node, runId, objectId })
  for (const id of pushed.objectsToPush) {
    const objectContent = (instruction.objects.get(id) as () => Uint8Array)()
    // What was stored and whose answer was lost comes again, of a session or, from older peers, of none.
    for (const sessionId of [pushed.sessionId, pushed.sessionId, '']) {
      const object = { node: { nodeId: 1n }, runId, objectId: id, objectContent, sessionId }
      assert.deepEqual((await call(address, Runtime.method.pushObject, object, app)).stored, true)
    }
  }
  const object = await waitingObject
  assert.deepEqual([object.objectFound, object.objectAvailable], [true, true])
  assert.deepEqual(
    Buffer.from(object.objectContent),
    Buffer.from((instruction.objects.get(objectId) as () => Uint8Array)()),
  )
  await fleet(Fleet.method.confirmMessageReceived, { node, runId, messageObjectId: instruction.messageId })

  const answer = Message.create({ content, messageType: 'query', dstNodeId: 1n })
  const { messageId: replyToMessageId } = instruction
  const restSeconds = asked.metadata.createdAt + asked.metadata.ttl - answer.metadata.createdAt
  const origin = { runId, srcNodeId: nodeId, replyToMessageId, ttl: restSeconds, dstTaskId: srcTaskId }
  const reply = deflateMessage(answer, { ...answer.metadata, ...origin })
  const messageIds = [instruction.messageId]
  const waitingApp = call(address, Runtime.method.pullMessages, { messageIds }, app)
  await delay(300)
  const announcement = { node, messagesList: [reply.wire], messageObjectTrees: [reply.tree] }
  const announced = await fleet(Fleet.method.pushMessages, announcement)
  assert.ok(announced.sessionId)
  // The records are those of the instruction, which are not here any more.
  assert.deepEqual(new Set(announced.objectsToPush), new Set(reply.objects.keys()))
  assert.deepEqual(announced.results, { [reply.messageId]: 0 })
  const again = await fleet(Fleet.method.pushMessages, announcement)
  assert.deepEqual(new Set(again.objectsToPush), new Set(announced.objectsToPush))
  // Announced is not enough: the app would ask for objects that are not here.
  assert.equal(await Promise.race([waitingApp, delay(300, 'still waiting')]), 'still waiting')
  for (const id of announced.objectsToPush) {
    const objectContent = (reply.objects.get(id) as () => Uint8Array)()
    const { stored } = await fleet(Fleet.method.pushObject, { node, runId, objectId: id, objectContent, sessionId: '' })
    assert.ok(stored)
  }
  const collected = await waitingApp
  assert.deepEqual(
    collected.messagesList.map(({ metadata }) => metadata?.messageId),
    [reply.messageId],
  )
  assert.equal(collected.messageObjectTrees[0]?.objectId, reply.messageId)
  assert.equal(collected.messagesList[0]?.metadata?.dstTaskId, srcTaskId)

  // Flower 1.43 names messages in another field: an absent one asks for every reply, an empty one for none.
  const pull = async (request: MessageInitShape<typeof Runtime.method.pullMessages.input>, version: string) =>
    (await call(address, Runtime.method.pullMessages, request, { ...app, ...release(version) })).messageObjectTrees.map(
      (tree) => tree.objectId,
    )
  assert.deepEqual(await pull({ replyToMessageIds: { vals: [instruction.messageId] } }, '1.43.0'), [reply.messageId])
  assert.deepEqual(await pull({ replyToMessageIds: { vals: [] } }, '1.43.0'), [])
  assert.deepEqual(await pull({}, '1.43.0.dev20261026'), [reply.messageId])
  assert.deepEqual(await pull({}, '1.42.0'), [])

  // Codes of 1.43 for messages and confirmations that do not belong to the caller.
  const refusalOf = async <M extends Method>(method: M, init: MessageInitShape<M['input']>, headers: Headers) =>
    (
      await refusal(await post(address, routeOf(method), toBinary(method.input, create(method.input, init)), headers))
    )[1]
  const codeOf = async (...args: Parameters<typeof refusalOf>) => ((await refusalOf(...args)) as { code?: number }).code
  const elsewhere = { node: { nodeId: 1n }, runId: second.runId as bigint, messageObjectId: reply.messageId }
  assert.equal(await codeOf(Runtime.method.confirmMessageReceived, elsewhere, app), 1008)
  assert.equal(await codeOf(Runtime.method.pullObject, { node, runId, objectId }, app), 1008)
  const unequal = { messagesList: [instruction.wire], messageObjectTrees: [] }
  assert.equal(await codeOf(Runtime.method.pushMessages, unequal, app), 3013)
  assert.deepEqual((await call(address, Runtime.method.pushMessages, {}, app)).messageIds, [])
  const foreign = deflateMessage(answer, { ...answer.metadata, ...origin, srcNodeId: nodeId + 1n })
  const forged = { node, messagesList: [foreign.wire], messageObjectTrees: [foreign.tree] }
  assert.equal(await codeOf(Fleet.method.pushMessages, forged, await signed(key)), 2011)

  // A second reply, and one whose bytes are others, are not taken in.
  const other = deflateMessage(answer, { ...answer.metadata, ...origin, groupId: 'other' })
  const refused = { node, messagesList: [other.wire], messageObjectTrees: [other.tree] }
  assert.deepEqual((await fleet(Fleet.method.pushMessages, refused)).objectsToPush, [])
  const spoilt = { node, runId, objectId: reply.messageId, objectContent: Buffer.from('x'), sessionId: '' }
  assert.equal((await fleet(Fleet.method.pushObject, spoilt)).stored, false)

  // An upload whose answer was lost comes again when the app has taken the reply up.
  const confirmed = { node: { nodeId: 1n }, runId, messageObjectId: reply.messageId }
  await call(address, Runtime.method.confirmMessageReceived, confirmed, app)
  const objectContent = (reply.objects.get(reply.messageId) as () => Uint8Array)()
  const last = { node, runId, objectId: reply.messageId, objectContent }
  assert.ok((await fleet(Fleet.method.pushObject, { ...last, sessionId: announced.sessionId })).stored)
  assert.equal((await fleet(Fleet.method.pushObject, { ...last, sessionId: '' })).stored, false)

  // Nothing to wait for is answered at once.
  const nothing = await call(address, Runtime.method.pullMessages, { messageIds: [] }, app)
  assert.deepEqual(nothing.messagesList, [])

  // The word of an app that the run has ended is taken once; then its token is void.
  await call(address, Runtime.method.pushTaskOutput, { subStatus: 'completed', details: '' }, app)
  const late = await post(address, 'runtime/get-nodes', new Uint8Array(), app)
  assert.deepEqual(await refusal(late), [401, { code: 1008, detail: 'Authentication failed.' }])
  const body = toBinary(Fleet.method.getRun.input, create(Fleet.method.getRun.input, { node, runId }))
  const [status, ended] = await refusal(await post(address, 'fleet/get-run', body, await signed(key)))
  assert.deepEqual([status, (ended as { code: number }).code], [403, 2007])

  await test('lists of runs go on where the last one ended', async () => {
    const list = async (limit?: bigint, skip?: bigint): Promise<string[]> => {
      const window = { ...(limit === undefined ? {} : { limit }), ...(skip === undefined ? {} : { skip }) }
      return Object.keys((await call(address, Control.method.listRuns, window)).runDict)
    }
    assert.deepEqual(new Set(await list()), new Set([`${runId}`, `${second.runId}`]))
    assert.deepEqual(await list(1n), [`${second.runId}`])
    assert.deepEqual(await list(1n, 1n), [`${runId}`])
    assert.deepEqual(await list(undefined, 1n), [`${runId}`])
    assert.deepEqual(await list(5n, 2n), [])
  })
})

test('what belongs to agents, models, connectors and other releases is answered with a sentence that says so', async () => {
  await using deployment = await Deployment.create({ superlinkArguments: ['--isolation', 'process'] })
  const address = deployment.mainAddress
  const ask = async (route: string, headers?: Headers) => refusal(await post(address, route, new Uint8Array(), headers))
  const sentence = async (route: string, headers?: Headers): Promise<[number, string]> => {
    const [status, body] = await ask(route, headers)
    return [status, (body as { detail: string }).detail]
  }
  for (const route of ['control/list-run-series', 'control/list-connectors', 'control/begin-connector-oauth'])
    assert.match(
      (await sentence(route)).join(' '),
      /^501 This SuperLink runs ServerApps and ClientApps, not agents/,
      route,
    )
  assert.match((await sentence('control/list-apps')).join(' '), /^501 This SuperLink keeps no list of apps/)
  for (const route of ['runtime/create-task', 'runtime/get-connector', 'runtime/get-compacted-contexts'])
    assert.match((await sentence(route)).join(' '), /^501 Trellis runs ServerApps and ClientApps, not agents/, route)
  assert.deepEqual(await ask('control/no-such-call'), [404, { detail: 'Not Found' }])

  for (const version of ['1.38.0', '1.44.0', '2.41.0', 'nonsense']) {
    const [status, body] = await ask('runtime/acquire-task', release(version))
    const { code, detail } = body as { code: number; detail: string }
    assert.deepEqual([status, code], [412, 1001], version)
    assert.match(
      detail,
      new RegExp(`is ${version}\\. Trellis \\S+ runs apps for .* Flower 1\\.29\\.0 and 1\\.39 to 1\\.43`),
    )
  }
  assert.equal((await ask('runtime/pull-pending-tasks', release('1.36.0')))[0], 412)
  assert.match(
    (await sentence('fleet/create-node')).join(' '),
    /412 .* older than 1\.27\. Trellis \S+ works with Flower 1\.27 to 1\.43/,
  )
  // SuperNodes and flwr of a release that we do not know are served, and warned.
  const warningFor = async (version: string): Promise<string | null> => {
    const answer = await post(address, 'control/list-runs', new Uint8Array(), release(version))
    assert.equal(answer.status, 200)
    return answer.headers.get('flwr-version-incompatibility-message')
  }
  assert.match(
    (await warningFor('1.44.0')) ?? '',
    /This is Flower 1\.44\.0; Trellis \S+ was made for Flower 1\.27 to 1\.43/,
  )
  assert.equal(await warningFor('1.37.2'), null)
  for (const version of ['1.39.0', '1.41.9', '1.42.0', '1.43.0.dev20261026']) {
    const body = toBinary(Runtime.method.acquireTask.input, create(Runtime.method.acquireTask.input, {}))
    const answer = await post(address, 'runtime/acquire-task', body, release(version))
    assert.deepEqual([answer.status, (await answer.arrayBuffer()).byteLength], [200, 0], version)
  }
})
