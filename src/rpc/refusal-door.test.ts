import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import type { RefusedPeer } from '../identity/caller.ts'
import { tellRefusal } from './refusal-door.ts'

/** A name that is half of a character: `encodeURIComponent` throws at it. */
const peer: RefusedPeer = {
  ...{ kind: 'refused', reason: 'malformed-certificate', sentence: 'The name \ud800 is not in the policy: ü' },
  ...{ identity: '\ud800', organization: '', serial: '01', fingerprint: '' },
} as const

for (const wire of ['grpc', 'http'] as const) {
  test(`a peer is refused over ${wire} with the reason, whatever its name`, async () => {
    const server = createServer((socket) =>
      tellRefusal(
        socket.on('error', () => {}),
        peer,
        wire,
      ),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      if (wire === 'http') {
        const response = await fetch(url, { method: 'POST' })
        assert.equal(response.headers.get('trellis-refusal-reason'), 'malformed-certificate')
        assert.match(await response.text(), /is not in the policy: ü/)
        return
      }
      const session = connect(url)
      const [headers] = await once(session.request({ ':method': 'POST', ':path': '/x' }), 'response')
      assert.match(decodeURIComponent(headers['grpc-message']), /The name � is not in the policy: ü/)
      session.destroy()
    } finally {
      server.close()
    }
  })
}
