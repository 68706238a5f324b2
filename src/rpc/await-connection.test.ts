import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import { type ChannelOptions, createChannel } from './channel.ts'

const { pullMessages } = Fleet.method

/** A server that takes connections and says nothing, as one that is overloaded or whose machine stands still. */
async function openSilentServer(options: Pick<ChannelOptions, 'tls' | 'transport'>) {
  const sockets: Socket[] = []
  const server = createServer((socket) => void sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const channel = createChannel({ address, component: 'test', ...options })
  return {
    ...{ server, sockets, channel },
    [Symbol.dispose]: () => {
      channel.close()
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

test('a call ends by its signal or time limit before there is a connection, for which other calls wait on', async () => {
  using silent = await openSilentServer({ tls: 'insecure', transport: 'grpc' })
  const { channel, server, sockets } = silent
  const controller = new AbortController()
  const { signal } = controller
  const logs = channel.stream(Control.method.streamLogs, {}, { signal })
  const cancelled = [channel.call(pullMessages, {}, { signal, timeoutMs: 60_000 }), logs.next()]
  const patient = channel.call(pullMessages, {}, { timeoutMs: 60_000 })
  await once(server, 'connection')
  controller.abort()
  for (const call of cancelled) await assert.rejects(call, /The call was cancelled/)
  assert.deepEqual(getEventListeners(signal, 'abort'), [])
  await assert.rejects(channel.call(pullMessages, {}, { timeoutMs: 10 }), { failure: 'connection-timeout' })

  const http2 = createHttp2Server().on('stream', respond)
  http2.emit('connection', sockets[0])
  await patient
  assert.equal(sockets.length, 1)
})

test('a call over HTTP ends by its signal or time limit while its connection is being opened', async () => {
  const tls = { current: () => ({}), subscribe: () => new DisposableStack() }
  using silent = await openSilentServer({ tls, transport: 'http' })
  const { channel, server, sockets } = silent
  const controller = new AbortController()
  const { signal } = controller
  const cancelled = channel.call(pullMessages, {}, { signal, timeoutMs: 60_000 })
  await once(server, 'connection')
  controller.abort()
  await assert.rejects(cancelled, /The call was cancelled/)
  assert.deepEqual(getEventListeners(signal, 'abort'), [])
  await assert.rejects(channel.call(pullMessages, {}, { timeoutMs: 10 }), { failure: 'no-response' })
  assert.equal(sockets.filter(({ destroyed }) => destroyed).length, 0)
})

function respond(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(Buffer.alloc(5))
}
