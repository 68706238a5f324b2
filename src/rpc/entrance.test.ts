import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { limits } from '../base/limits.ts'
import { Entrance } from './entrance.ts'

/** An entrance without TLS. The test hands it the connections that a server accepts. */
async function setUp() {
  const { log, lines } = recordingLogger()
  const entrance = new Entrance({ name: 'test', log }, (_wire, socket) => void socket.end('served'))
  const stack = new DisposableStack()
  stack.defer(() => entrance.close())
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  stack.defer(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    ...{ entrance, lines },
    /** Connects, and returns both ends. */
    async accept(localPort?: number): Promise<{ client: Socket; socket: Socket }> {
      const client = connect({ port, host: '127.0.0.1', ...(localPort && { localPort }) })
      client.on('error', () => {})
      stack.defer(() => void client.destroy())
      const [[socket]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
        [Socket],
        unknown,
      ]
      return { client, socket }
    },
    [Symbol.dispose]: () => stack.dispose(),
  }
}

const request = 'GET / HTTP/1.1\r\n\r\n'

/** Resolves when the reset is sent. The other end does not notice it before it reads. */
async function reset(client: Socket): Promise<void> {
  client.resetAndDestroy()
  await once(client, 'close')
}

test('a client that resets its connection while it waits, and connects again from the same port, is served', async () => {
  using world = await setUp()
  const { entrance, accept } = world
  const silent: Socket[] = []
  for (let count = 0; count < limits.connectionsUnjudgedMax; count++) {
    const { client, socket } = await accept()
    entrance.arrive(socket)
    silent.push(client)
  }
  const former = await accept()
  entrance.arrive(former.socket)
  const { localPort } = former.client
  await new Promise<void>((resolve) => former.client.write(request, () => resolve()))
  await reset(former.client)
  const next = await accept(localPort)
  entrance.arrive(next.socket)
  next.client.write(request)
  for (const client of silent) client.destroy()
  assert.equal(String((await once(next.client, 'data'))[0]), 'served')
})

test('connections that are reset before they arrive take no places', async () => {
  using world = await setUp()
  const { entrance, lines, accept } = world
  const gone: Socket[] = []
  for (let count = 0; count < 2 * limits.connectionsUnjudgedMax; count++) {
    const { client, socket } = await accept()
    await reset(client)
    gone.push(socket)
  }
  for (const socket of gone) entrance.arrive(socket)
  const { client, socket } = await accept()
  entrance.arrive(socket)
  client.write(request)
  assert.equal(String((await once(client, 'data'))[0]), 'served')
  assert.deepEqual(lines, [], 'it did not wait')
})
