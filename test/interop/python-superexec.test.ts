import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { freePort } from '../harness/free-port.ts'
import { programFolder } from '../harness/program.ts'
import { countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { pythonOf, startPython, withoutPython } from '../harness/python-flower.ts'

test("Flower 1.29's SuperExecs and apps work for our SuperLink and SuperNode, and a stop reaches them", {
  skip: withoutPython,
}, async () => {
  const appio = ['--serverappio-api-address', '127.0.0.1:0']
  await using deployment = await Deployment.create({ superlinkArguments: ['--isolation', 'process', ...appio] })
  const [, serverApps = ''] = await deployment.superlink.line(/Starting ServerAppIo API on (\S+)/)
  const node = await deployment.startSupernode('node-1', ['--isolation', 'process', '--port', '0'])
  const [, clientApps = ''] = await node.line(/Starting Runtime API on (\S+)/)
  const superexec = (address: string, plugin: string) =>
    startPython('1.29', 'flower-superexec', ['--insecure', '--appio-api-address', address, '--plugin-type', plugin], {
      env: deployment.environment,
    })
  await using _servers = superexec(serverApps, 'serverapp')
  await using _clients = superexec(clientApps, 'clientapp')
  const app = writeMixedApp(deployment.directory.file('testapp'), {
    server: { language: 'python', source: countingServerPython },
    client: { language: 'python', source: countingClientPython },
    config: 'nodes = 1\nrounds = 2\npause-ms = 0',
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /weights: 2 12/)
  assert.match(run.said, /finished:completed/)

  const long = await deployment.flwr('run', app, '--run-config', 'rounds=50 pause-ms=500')
  const [, runId = ''] = /run (\d+)/.exec(long.said) ?? []
  await using log = deployment.start('flwr', ['log', runId])
  await log.line(/ROUND 2/)
  assert.match((await deployment.flwr('stop', runId)).stdout, /was stopped/)
  await log.line(/finished:stopped/)
})

test('a SuperNode of Flower 1.29 that finds our flower-superexec first on PATH has it run Python ClientApps', {
  skip: withoutPython,
}, async () => {
  await using deployment = await Deployment.create()
  const programs = deployment.directory.file('programs')
  mkdirSync(programs)
  symlinkSync(join(programFolder, 'flower-superexec'), join(programs, 'flower-superexec'))
  const address = `127.0.0.1:${await freePort()}`
  const args = ['--insecure', '--superlink', deployment.fleetAddress, '--clientappio-api-address', address]
  const PATH = `${programs}:${dirname(pythonOf('1.29'))}:${process.env.PATH}`
  await using node = startPython('1.29', 'flower-supernode', args, { env: { ...deployment.environment, PATH } })
  await node.line(/SuperNode ID/, 60_000)
  const app = writeMixedApp(deployment.directory.file('testapp'), {
    server: { language: 'typescript', source: countingServer },
    client: { language: 'python', source: countingClientPython },
    config: 'nodes = 1\nrounds = 1\npause-ms = 0',
  })
  const run = await deployment.flwr('run', app, '--stream')
  assert.match(run.said, /weights: 1 11/)
  assert.match(node.said, /Launching an app type=flwr-clientapp/, 'by our SuperExec')
})
