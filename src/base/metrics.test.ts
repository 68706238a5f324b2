import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from './metrics.ts'

test('metrics are read in the text format of Prometheus, and gauges tell what is so at that moment', async () => {
  const metrics = new Metrics()
  let open = 2
  metrics.onRead(() => {
    for (let count = 0; count < open; count++) metrics.connections.inc({ listener: 'Fleet API', method: 'certificate' })
  })
  metrics.refusals.inc({ listener: 'Fleet API', reason: 'certificate-expired' })
  const first = await metrics.text()
  assert.match(first.contentType, /^text\/plain; version=0\.0\.4/)
  assert.match(first.body, /^trellis_connections\{listener="Fleet API",method="certificate"\} 2$/m)
  assert.match(first.body, /^trellis_peer_refusals_total\{listener="Fleet API",reason="certificate-expired"\} 1$/m)
  open = 1
  const second = await metrics.text()
  assert.match(second.body, /^trellis_connections\{listener="Fleet API",method="certificate"\} 1$/m)
  assert.match(second.body, /^trellis_peer_refusals_total\{.*\} 1$/m)
})

test('two programs in one process count for themselves', async () => {
  const [one, other] = [new Metrics(), new Metrics()]
  one.reloads.inc({ files: 'server certificate', result: 'kept' })
  assert.match((await one.text()).body, /trellis_tls_reloads_total\{files="server certificate",result="kept"\} 1/)
  assert.doesNotMatch((await other.text()).body, /result="kept"/)
})
