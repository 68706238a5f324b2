import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { test } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { generateNodeKey, signNodeCall } from '../../src/identity/node-key.ts'
import { deflateMessage } from '../../src/message/deflate.ts'
import { Message } from '../../src/message/message.ts'
import { RecordDict } from '../../src/message/records.ts'
import { type CallOptions, type Channel, createChannel, RpcError } from '../../src/rpc/channel.ts'
import { askingServer, countingClient } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'

/** A channel to a plain API of a deployment. */
const plain = (address: string, transport: 'grpc' | 'http'): Channel =>
  createChannel({ address, tls: 'insecure', transport, component: 'test' })

async function failureOf(call: Promise<unknown>): Promise<RpcError> {
  const error = await call.then(
    (answer) => assert.fail(`was not refused: ${JSON.stringify(answer, (_, value) => String(value))}`),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof RpcError, String(error))
  return error
}

test('bytes that are no request, calls of unknown methods and messages that are too large are refused, and the server goes on', async () => {
  await using deployment = await Deployment.create()
  const post = (path: string, body: Uint8Array, type = 'application/protobuf') =>
    fetch(`http://${deployment.controlAddress}${path}`, { method: 'POST', headers: { 'content-type': type }, body })
  const garbage = Buffer.from('ffffffffff', 'hex')
  const malformed = await post('/v1/control/list-runs', garbage)
  assert.equal(malformed.status, 400)
  assert.deepEqual(await malformed.json(), { code: 1003, detail: 'Invalid protobuf payload.' })
  assert.equal((await post('/v1/control/list-runs', garbage, 'text/plain')).status, 415)
  assert.equal((await post('/v1/control/no-such-call', new Uint8Array())).status, 404)
  const tooLarge = await announce(deployment.controlAddress, '/v1/control/start-run', limits.messageBytesMax + 1)
  assert.equal(tooLarge.status, 429)
  assert.match(tooLarge.body, /larger than 67108864 bytes/)

  const grpc = (method: string, body: Uint8Array, length = body.length): Promise<string> =>
    grpcStatus(deployment.controlAddress, `/flwr.proto.Control/${method}`, body, length)
  assert.equal(await grpc('ListRuns', garbage), '3')
  assert.equal(await grpc('NoSuchCall', new Uint8Array()), '12')
  assert.equal(await grpc('ListRuns', new Uint8Array(100), limits.messageBytesMax + 1), '8')
  using channel = plain(deployment.controlAddress, 'grpc')
  await channel.call(Control.method.listRuns, {})
})

test('a node cannot speak for another, nor with a signature that is wrong or old', async () => {
  await using deployment = await Deployment.create()
  using channel = plain(deployment.fleetAddress, 'grpc')
  const join = async (): Promise<{ nodeId: bigint; options: () => Promise<CallOptions> }> => {
    const key = generateNodeKey()
    const options = (): Promise<CallOptions> => signNodeCall(key, Date.now())
    const publicKey = key.publicKeyPem
    await channel.call(Fleet.method.registerNode, { publicKey }, await options())
    const { message } = await channel.call(
      Fleet.method.activateNode,
      { publicKey, heartbeatInterval: 30 },
      await options(),
    )
    return { nodeId: message.nodeId, options }
  }
  const [one, two] = [await join(), await join()]
  const pull = async (nodeId: bigint, options: CallOptions): Promise<unknown> =>
    channel.call(Fleet.method.pullMessages, { node: { nodeId } }, { ...options, waitMs: 0 })
  await pull(one.nodeId, await one.options())
  assert.match((await failureOf(pull(two.nodeId, await one.options()))).message, /Invalid node ID/)
  assert.match((await failureOf(pull(one.nodeId, {}))).message, /Missing authentication metadata/)
  const old = await signNodeCall(generateNodeKey(), Date.now() - 400_000)
  assert.match((await failureOf(pull(one.nodeId, old))).message, /Invalid timestamp/)
  const mixed = { ...(await one.options()), headers: { 'flwr-timestamp': new Date().toISOString() } }
  assert.match((await failureOf(pull(one.nodeId, mixed))).message, /Invalid signature/)
})

test('a token is good for its own task and run, and an object for its own hash', async () => {
  await using deployment = await Deployment.create({ superlinkArguments: ['--isolation', 'process'] })
  const { bytes, hash } = buildFab(
    deployment.writeApp({ server: askingServer, client: countingClient, config: 'actions = "a"' }),
  )
  using control = plain(deployment.controlAddress, 'grpc')
  using runtime = plain(deployment.mainAddress, 'http')
  const begin = async (): Promise<{ runId: bigint; options: CallOptions }> => {
    const { message } = await control.call(Control.method.startRun, { fab: { hashStr: hash, content: bytes } })
    const { message: acquired } = await runtime.call(Runtime.method.acquireTask, {
      supportedTaskTypes: ['flwr-serverapp'],
    })
    const options = { headers: { 'flwr-task-token': acquired.token } }
    await runtime.call(Runtime.method.pullTaskInput, {}, options)
    return { runId: message.runId as bigint, options }
  }
  const [one, two] = [await begin(), await begin()]
  for (const options of [{}, { headers: { 'flwr-task-token': 'f'.repeat(256) } }]) {
    const error = await failureOf(runtime.call(Runtime.method.getNodes, {}, options))
    assert.equal(error.status, 'unauthenticated')
    assert.equal(error.number, 1008)
  }

  const message = Message.create({ content: new RecordDict(), messageType: 'query', dstNodeId: 42n })
  const { wire, tree } = deflateMessage(message, { ...message.metadata, runId: two.runId, srcNodeId: 1n })
  const request = { messagesList: [wire], messageObjectTrees: [tree] }
  const foreign = await failureOf(runtime.call(Runtime.method.pushMessages, request, one.options))
  assert.match(foreign.message, /Invalid message: another run/)

  const object = { node: { nodeId: 1n }, runId: one.runId, objectId: 'a'.repeat(64), objectContent: Buffer.from('x') }
  const pushed = await runtime.call(Runtime.method.pushObject, object, one.options)
  assert.equal(pushed.message.stored, false)

  await control.call(Control.method.stopRun, { runId: one.runId })
  assert.equal((await failureOf(runtime.call(Runtime.method.getNodes, {}, one.options))).number, 1008)
  await runtime.call(Runtime.method.getNodes, {}, two.options)
})

/** Says that a body of `length` bytes will come, and waits for what the server says to that. */
function announce(address: string, path: string, length: number): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/protobuf', 'content-length': length }
    const request = httpRequest(`http://${address}${path}`, { method: 'POST', headers }, async (response) => {
      let body = ''
      for await (const chunk of response) body += String(chunk)
      resolve({ status: response.statusCode ?? 0, body })
      request.destroy()
    })
    request.on('error', reject)
    request.flushHeaders()
  })
}

/** The status of a call with raw bytes that announces `length` of them, as a gRPC client sees it. */
function grpcStatus(address: string, path: string, body: Uint8Array, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://${address}`)
    session.once('error', reject)
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    let status = 'none'
    const look = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status'])
    }
    stream.on('response', look)
    stream.on('trailers', look)
    stream.on('error', () => {})
    stream.once('close', () => {
      session.destroy()
      resolve(status)
    })
    stream.resume()
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(length, 1)
    stream.write(prefix)
    stream.end(body)
  })
}
