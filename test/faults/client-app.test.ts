import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { askingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually } from '../harness/program.ts'

const faultyClient = `
import { writeSync } from 'node:fs'
import { ClientApp, ConfigRecord, RecordDict } from 'trellis-fl'
export const app = new ClientApp().query(async (message, context) => {
  switch (message.content.config('config').get('action')) {
    case 'throw':
      throw new RangeError('no such partition')
    case 'exit':
      process.exit(3)
    case 'spin':
      for (;;) {}
    case 'wait':
      return new Promise(() => {})
    case 'big':
      return message.reply(new RecordDict({ c: new ConfigRecord({ blob: new Uint8Array(61 * 1024 * 1024) }) }))
    case 'nothing':
      return undefined
    case 'noise':
      process.send?.(null)
      process.send?.('ready')
      process.disconnect?.()
      writeSync(3, 'ready\\n{"app":null}\\nnull\\n')
      return message.reply(new RecordDict())
    case 'flood':
      for (;;) {
        try {
          writeSync(3, 'ready\\n'.repeat(1000))
        } catch {}
      }
    case 'hoard':
      for (const part of [1, 2, 3, 4, 5, 6, 7])
        context.state.set(\`part\${part}\`, new ConfigRecord({ blob: new Uint8Array(10 * 1024 * 1024) }))
      return message.reply(new RecordDict())
    default:
      return message.reply(new RecordDict())
  }
})
`

/** For the tests that leave it as it was. */
let deployment: Deployment
before(async () => {
  deployment = await Deployment.create()
  await deployment.startSupernode('node-1')
})
after(() => deployment[Symbol.asyncDispose]())

test('whatever a ClientApp does, the ServerApp gets an answer and the node goes on', async () => {
  const app = deployment.writeApp({
    server: askingServer,
    client: faultyClient,
    config: 'actions = "throw,good,exit,good,big,nothing,good"\nttl = 60',
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /throw: error 2 RangeError: no such partition/)
  assert.match(run.said, /exit: error 8 ClientApp stopped responding\. .*exit status 3/)
  assert.match(run.said, /big: error 2 The reply is too large: .* 62914560 that are allowed/)
  assert.match(run.said, /nothing: error 2 .*did not return a reply/)
  assert.equal(run.said.match(/good: answered/g)?.length, 3)
  const hung = await deployment.flwr('run', app, '--stream', '--run-config', 'actions="spin,wait" ttl=4')
  assert.match(hung.said, /spin: error 3 /)
  assert.match(hung.said, /wait: error 3 /)
  const after = await deployment.flwr('run', app, '--stream', '--run-config', 'actions="good"')
  assert.match(after.said, /good: answered/)
  // Nothing of the apps that hung is left.
  await eventually('the end of all client processes', () => deployment.children('flwr-clientapp').length === 0)
})

test('no ClientApp ends its SuperExec, and one that keeps too much is reported at once', async () => {
  await using deployment = await Deployment.create()
  const node = await deployment.startSupernode('node-1')
  const superexecs = (): number[] => deployment.children('flower-superexec')
  await eventually('both SuperExecs', () => superexecs().length === 2)
  const before = superexecs()
  const app = deployment.writeApp({
    server: askingServer,
    client: faultyClient,
    config: 'actions = "noise,good,flood,good,hoard,good"\nttl = 50',
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /noise: answered/)
  assert.match(run.said, /flood: error 8 ClientApp stopped responding\. .*ended by SIG/)
  // The lease of a task lasts longer than the message: without a report the message would expire.
  assert.match(run.said, /hoard: error 2 The state of the app \(context\.state\) is too large to be kept: /)
  assert.equal(run.said.match(/good: answered/g)?.length, 3)
  assert.match(node.said, /floods its SuperExec/)
  assert.deepEqual(superexecs(), before)
})

test('a ClientApp that cannot be loaded replies with the reason, and a run without another ClientApp has failed', async () => {
  const app = deployment.writeApp({
    server: askingServer,
    client: `import './not-there.ts'\nexport const app = 1\n`,
    config: 'actions = "any"\nttl = 20',
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 1, run.said)
  assert.match(run.said, /any: error 1 app\/client\.ts cannot be loaded: .*not-there/)
  assert.match(
    run.said,
    /finished:failed: No SuperNode could load the app\. The first one said: app\/client\.ts cannot/,
  )
  const wrong = deployment.writeApp({
    name: 'wrong',
    server: askingServer,
    client: `export const app = 1\n`,
    config: 'actions = "any"\nttl = 20',
  })
  const other = await deployment.flwr('run', wrong, '--stream')
  assert.match(other.said, /any: error 1 'app' in app\/client\.ts is not a ClientApp/)
})

test('a ServerApp that fails ends the run with the reason, and flwr run fails with it', async () => {
  const app = deployment.writeApp({
    server: `import { ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(() => { throw new Error('no idea what to do') })`,
    client: faultyClient,
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 1, run.said)
  assert.match(run.said, /finished:failed: ServerApp failed with exception: no idea what to do/)
})

test('a Python app at a site without Python fails at once with a sentence', async () => {
  await using deployment = await Deployment.create({ superlinkArguments: ['--python', '/nowhere/python'] })
  const app = deployment.writeApp({ server: '', client: '' })
  const pyproject = readFileSync(`${app}/pyproject.toml`, 'utf8')
  writeFileSync(
    `${app}/pyproject.toml`,
    pyproject.replace('app/server.ts:app', 'pkg.server:app').replace('app/client.ts:app', 'pkg.client:app'),
  )
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 1, run.said)
  assert.match(run.said, /needs Python: \/nowhere\/flwr-serverapp cannot be started/)
})
