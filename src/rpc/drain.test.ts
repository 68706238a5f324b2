import assert from 'node:assert/strict'
import { connect } from 'node:http2'
import { test } from 'node:test'
import { toBinary } from '@bufbuild/protobuf'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import type { Call, CallHead, IncomingCall } from './call.ts'
import { type Method, methodsOf } from './dispatch.ts'
import { Drain } from './drain.ts'
import { startListener } from './listener.ts'
import { callerKind, defineService, type Service } from './service.ts'

/** A method whose handler gets the call. */
function methodWith(handler: (call: Call) => Promise<object>, drain: Drain): Method {
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'small' } as const
  const names = Object.keys(Fleet.method)
  const service: Service = defineService<typeof Fleet, { anyone: string }>(Fleet, {
    access: Object.fromEntries(names.map((name) => [name, row])) as never,
    callers: {
      anyone: callerKind(
        async () => {},
        async () => 'the caller',
      ),
    },
    handlers: Object.fromEntries(
      names.map((name) => [name, (_request: unknown, call: Call) => handler(call)]),
    ) as never,
  })
  return methodsOf([service], [], drain).find(({ route }) => route === 'fleet/get-run') as Method
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

function incomingWith(signal: AbortSignal): IncomingCall {
  const body = toBinary(Fleet.method.getRun.input, { $typeName: Fleet.method.getRun.input.typeName, runId: 7n })
  return { head: { method: 'GetRun', signal } as CallHead, receive: async () => body }
}

/** Its calls last until their signal is aborted. */
const heldMethod = (drain: Drain) =>
  methodWith(async ({ signal }) => {
    await untilAborted(signal)
    return {}
  }, drain)

test('calls that are held return when the server begins to drain, and are named until then', async () => {
  const drain = new Drain()
  const method = heldMethod(drain)
  const caller = new AbortController()
  const calls = [method.unary(incomingWith(caller.signal)), method.unary(incomingWith(caller.signal))]
  assert.equal(drain.describe(), 'GetRun (2)')
  drain.begin()
  await Promise.all(calls)
  assert.equal(drain.describe(), '')
  assert.equal(caller.signal.aborted, false, 'their responses are still sent')
  await method.unary(incomingWith(caller.signal))
})

test('a call that is held also ends when its caller hangs up', async () => {
  const drain = new Drain()
  const method = heldMethod(drain)
  const caller = new AbortController()
  const call = method.unary(incomingWith(caller.signal))
  caller.abort()
  await assert.doesNotReject(call)
})

/** A listener whose calls respond when the test says so. */
async function startSlow() {
  const response = Promise.withResolvers<void>()
  const arrived = Promise.withResolvers<void>()
  const method: Method = {
    ...{ path: '/test/Slow', route: 'test/slow', streams: false },
    async unary() {
      arrived.resolve()
      await response.promise
      return [Buffer.from('done')]
    },
    async *stream() {},
  }
  const { log } = recordingLogger()
  const base = { name: 'test', address: '127.0.0.1:0', services: [], log } as const
  const listener = await startListener({ ...base, rawMethods: [method] })
  const at = `http://127.0.0.1:${listener.address.port}`
  return { listener, at, respond: response.resolve, arrived: arrived.promise }
}

for (const door of ['gRPC', 'HTTP'] as const)
  test(`a call over ${door} that is being served gets its response before the listener is drained, and new ones are refused`, async () => {
    const { listener, at, respond, arrived } = await startSlow()
    const answer = door === 'HTTP' ? overHttp(at) : overGrpc(at)
    await arrived
    const drained = listener.drain(30_000)
    await assert.rejects(overHttp(at))
    respond()
    assert.match(await answer, /done/)
    assert.equal(await drained, true)
    await listener.close()
  })

test('a call that takes too long is cut off', async () => {
  const { listener, at, arrived } = await startSlow()
  const answer = overHttp(at)
  answer.catch(() => {})
  await arrived
  assert.equal(await listener.drain(1), false)
  await listener.close(0)
  await assert.rejects(answer)
})

async function overHttp(at: string): Promise<string> {
  const headers = { 'content-type': 'application/protobuf' }
  return (await fetch(`${at}/v1/test/slow`, { method: 'POST', headers, body: '' })).text()
}

function overGrpc(at: string): Promise<string> {
  const session = connect(at)
  const stream = session.request({ ':method': 'POST', ':path': '/test/Slow', 'content-type': 'application/grpc' })
  stream.end(Buffer.alloc(5))
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => void chunks.push(chunk))
  return new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.once('end', () => resolve(Buffer.concat(chunks).toString()))
  })
}
