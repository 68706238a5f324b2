import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askingServer } from '../harness/apps.ts'
import { HttpProxy } from '../harness/http-proxy.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { withoutPython } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

const client = `
import { ClientApp, ConfigRecord, RecordDict } from 'trellis-fl'
export const app = new ClientApp().query((message) => {
  const { action } = Object.fromEntries(message.content.get('config').entries())
  return message.reply(new RecordDict({ config: new ConfigRecord({ done: action }) }))
})
`

/** One bit of its last byte is another. */
function spoil(bytes: Buffer): Buffer {
  const spoilt = Buffer.from(bytes)
  spoilt[spoilt.length - 1] = (spoilt.at(-1) as number) ^ 1
  return spoilt
}

test("objects whose bytes are not what their name says are refused between Python's SuperLink and ours, and the run hears of it", {
  skip: withoutPython,
}, async () => {
  await using fleet = await MixedFleet.create({ superlink: '1.41', isolation: 'process' })
  // The first instruction arrives spoilt; then the first upload of the second reply, and what the ServerApp gets of the third.
  // An instruction is confirmed when all its objects are here, or when its error reply was sent.
  let pulled = 0
  let confirmed = 0
  let spoiltUploads = 0
  await using _proxy = await HttpProxy.start(fleet, (route, _before, request) => {
    if (route === 'fleet/confirm-message-received') confirmed += 1
    if (route === 'fleet/pull-object' && pulled++ === 0) return { response: spoil }
    if (route === 'fleet/push-object' && confirmed === 2 && spoiltUploads++ === 0) return { request: spoil(request) }
    if (route === 'runtime/pull-object' && confirmed === 3) return { response: spoil }
    return undefined
  })
  fleet.startSuperexec(fleet.appAddress, 'serverapp')
  const node = await fleet.startSupernode('trellis')
  const app = writeApp(fleet.directory.file('app'), {
    server: askingServer,
    client,
    config: 'actions = "one,two,three,four"',
  })
  const run = await fleet.flwr('trellis', ['run', app, '--stream'])
  assert.match(run.said, /one: error 8 .*arrived with other bytes than its name says/)
  assert.match(run.said, /two: answered/)
  assert.match(node.said, /Objects of a reply are sent again/)
  assert.match(run.said, /three: error 3 .*arrived with other bytes than its name says/)
  assert.match(run.said, /four: answered/)
})
