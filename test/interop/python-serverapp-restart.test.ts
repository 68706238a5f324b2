import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { pythonEnvironment, withoutReleases } from '../harness/python-flower.ts'

test('a Python ServerApp outlives a SuperLink that is killed, and its run goes on', {
  skip: withoutReleases('1.41'),
}, async () => {
  await using deployment = await Deployment.create({
    superlinkArguments: ['--python', join(pythonEnvironment('1.41') ?? '', 'bin', 'python')],
  })
  await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const app = writeMixedApp(deployment.directory.file('testapp'), {
    server: { language: 'python', source: countingServerPython },
    client: { language: 'typescript', source: countingClient },
    config: 'rounds = 4\npause-ms = 400',
  })
  const runId = JSON.parse((await deployment.flwr('run', app, '--format', 'json')).stdout)['run-id']
  const follower = deployment.start('flwr', ['log', runId, '--stream'])
  await follower.line(/\[ROUND 2\/4\]/)
  deployment.superlink.kill('SIGKILL')
  await deployment.superlink.end()
  await deployment.startSuperlink()
  assert.equal(await follower.end(), 0, follower.said)
  assert.match(follower.said, /weights: 4 14/)
})
