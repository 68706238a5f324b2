import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { silentLogger } from '../base/log.ts'
import { startListener } from './listener.ts'

test('a client that asks for pages and errors and reads none makes the server build no more than fit into its sockets', async () => {
  const built = { pages: 0 }
  await using listener = await startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [], log: silentLogger },
    pages: [
      async (path) => {
        if (path === '/small') return { contentType: 'text/plain', body: 'here' }
        if (path !== '/large') return undefined
        built.pages += 1
        return { contentType: 'text/plain', body: 'x'.repeat(256 * 1024) }
      },
    ],
  })
  const { port } = listener.address
  const socket = connect(port, '127.0.0.1').pause()
  socket.on('error', () => {})
  const requests = 1000
  const asked = `GET /large HTTP/1.1\r\nhost: x\r\n\r\nGET /nothing HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(requests)
  await new Promise<void>((resolve) => socket.write(asked, () => resolve()))
  // Others are served meanwhile.
  for (let times = 0; times < 20; times++)
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/small`)).text(), 'here')
  assert.ok(built.pages >= 1 && built.pages <= 100, `${built.pages} pages were built`)
  socket.destroy()
})
