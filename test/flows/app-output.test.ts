import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { askingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'

const printingClient = `
import { ClientApp, RecordDict } from 'trellis-fl'
export const app = new ClientApp().query((message) => {
  if (message.content.config('config').get('action') === 'exit') {
    console.error('printed before the end')
    process.exit(3)
  }
  console.log('WARNING :   printed: Refused a peer')
  console.error('\\x1b[2J\\x1b[1;31mprinted in red\\r{"level":"error","msg":"printed"}')
  for (let line = 0; line < ${limits.appLinesMax + 100}; line++) console.log('printed too much')
  return message.reply(new RecordDict())
})
`

test('what a ClientApp prints is marked as its output in the log of the SuperNode, in both formats', async () => {
  await using deployment = await Deployment.create()
  const [text, json] = await Promise.all([
    deployment.startSupernode('node-1'),
    deployment.startSupernode('node-2', ['--log-format', 'json']),
  ])
  const app = deployment.writeApp({ server: askingServer, client: printingClient, config: 'actions = "print,exit"' })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /exit: error 8 ClientApp stopped responding/)
  // What ClientApps print stays at the site.
  assert.doesNotMatch(run.said, /printed/)
  await Promise.all([text.line(/printed before the end/), json.line(/printed before the end/)])

  const printed = text.said.split('\n').filter((line) => /printed/.test(line))
  for (const line of printed) assert.match(line, /^INFO : {6}\[ClientApp, run \d+\] [ -~]+$/)
  const marked = printed.map((line) => line.replace(/^[^\]]*\] /, ''))
  for (const line of ['WARNING :   printed: Refused a peer', 'printed in red', '{"level":"error","msg":"printed"}'])
    assert.ok(marked.includes(line), line)
  const dropped = text.said.split('\n').find((line) => /lines of an app are not shown/.test(line))
  assert.match(dropped ?? '', /^WARNING : {3}\d+ lines of an app are not shown: .* type=ClientApp run=\d+$/)

  const records = json.said
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const ofApp = records.filter(({ msg }) => /^(WARNING : {3})?printed|^\{/.test(msg))
  assert.ok(ofApp.length > 3)
  for (const { level, printedBy, run } of ofApp)
    assert.deepEqual([level, printedBy, typeof run], ['info', 'ClientApp', 'string'])
})
