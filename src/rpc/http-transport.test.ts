import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { secondsToProbe, withoutTcpTimers } from '../../test/harness/tcp-probes.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { createChannel, createClient } from './channel.ts'

/** As many as a ServerApp makes that fetches replies, and as a SuperExec with so many apps. */
const manyCalls = 64

async function openServer(serve: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(serve).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const end = (): void => {
    server.close()
    server.closeAllConnections()
  }
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const channel = createChannel({ address, tls: 'insecure', transport: 'http', component: 'test' })
  return {
    fleet: createClient(Fleet, channel),
    control: createClient(Control, channel),
    end,
    [Symbol.dispose]: () => {
      channel.close()
      end()
    },
  }
}

/** Calls that the server holds, and when it holds so many. */
function heldCalls() {
  const responses: ServerResponse[] = []
  const all = Promise.withResolvers<void>()
  const hold = (response: ServerResponse): void => {
    responses.push(response)
    if (responses.length === manyCalls) all.resolve()
  }
  return { hold, responses, all: all.promise }
}

test('calls fail when the server ends, however many are under way', async () => {
  const held = heldCalls()
  using server = await openServer((_request, response) => held.hold(response))
  const begin = () => Array.from({ length: manyCalls }, () => server.fleet.pullMessages({}))
  const calls = begin()
  await held.all
  calls.push(...begin())
  await setImmediate()
  server.end()
  for (const outcome of await Promise.allSettled(calls))
    assert.equal(outcome.status === 'rejected' && outcome.reason.kind, 'unreachable')
})

test('a call reaches the server while it holds many others', async () => {
  const held = heldCalls()
  using server = await openServer(({ url }, response) => {
    if (url === '/v1/fleet/pull-messages') held.hold(response)
    else response.end()
  })
  const calls = Array.from({ length: manyCalls }, () => server.fleet.pullMessages({}))
  await held.all
  await server.fleet.pullObject({})
  for (const response of held.responses) response.end()
  await Promise.all(calls)
})

test('a connection that is kept for the next call is not probed each second', { skip: withoutTcpTimers }, async () => {
  const ports: number[] = []
  using server = await openServer(({ socket }, response) => {
    ports.push(socket.remotePort ?? 0)
    response.end()
  })
  await server.fleet.pullMessages({})
  await setImmediate()
  assert.ok((secondsToProbe(ports[0] ?? 0) ?? 0) > 30)
})

test('a stream whose connection breaks is one that the caller can open again', async () => {
  using server = await openServer((_request, response) => {
    response.writeHead(200)
    response.write(Buffer.alloc(4))
  })
  const logs = server.control.streamLogs({})[Symbol.asyncIterator]()
  await logs.next()
  server.end()
  await assert.rejects(logs.next(), { kind: 'unreachable', retryable: true })
})
