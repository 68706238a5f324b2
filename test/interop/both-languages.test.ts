import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asyncResult, writeAsyncApp } from '../harness/async-app.ts'
import { Deployment } from '../harness/deployment.ts'
import { runningPython, withoutReleases } from '../harness/python-flower.ts'
import { secureResult, writeSecureApp } from '../harness/secure-app.ts'

test('under mutual TLS, ClientApps in Python and TypeScript train in one run: asynchronously, and with secure aggregation to the exact sum', {
  skip: withoutReleases('1.29', '1.41'),
}, async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  const nodes = await Promise.all([
    deployment.startSupernode('one'),
    deployment.startSupernode('two'),
    ...(['1.29', '1.41'] as const).map((release) => {
      const { args, env } = runningPython(release)
      return deployment.startSupernode(`python-${release}`, ['--apps', 'python', ...args], env)
    }),
  ])
  const secure = writeSecureApp(deployment.directory.file('secure'), { client: 'both', nodes: 4 })
  const hidden = await deployment.flwr('run', secure, '--stream')
  assert.match(hidden.said, secureResult)
  assert.match(hidden.said, /secure aggregation, unmask: 4 of 4 nodes/)
  assert.equal(hidden.status, 0, hidden.said)

  const unhurried = writeAsyncApp(deployment.directory.file('unhurried'), { client: 'both', nodes: 4 })
  const asynchronous = await deployment.flwr('run', unhurried, '--stream')
  assert.match(asynchronous.said, asyncResult)
  for (const name of ['one', 'two', 'python-1.29', 'python-1.41'])
    assert.match(asynchronous.said, new RegExp(`node ${name} `))
  assert.equal(asynchronous.status, 0, asynchronous.said)
  const languages = nodes.map(async (node) => (await node.line(/trained in (\w+)/))[1])
  assert.deepEqual(await Promise.all(languages), ['typescript', 'typescript', 'python', 'python'])
})
