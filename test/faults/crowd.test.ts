import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { createChannel } from '../../src/rpc/channel.ts'
import { FleetClient } from '../../src/supernode/fleet.ts'
import { Deployment } from '../harness/deployment.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

const nodesMax = 1000
/** The SuperLink is stopped at first, and then runs at two thirds of its speed. */
const stoppedMs = 1500
const [runMs, pauseMs] = [80, 40]

test('a thousand nodes come back at the same moment to a slow SuperLink: all get in, none ends', async (t) => {
  await using deployment = await Deployment.create({
    mutualTls: true,
    superlinkArguments: ({ directory }) => {
      const policy = '[identity]\nidentity-sharing = "allow"\n[[allow]]\nidentity = "*"\nroles = ["supernode"]\n'
      writeFileSync(directory.file('policy.toml'), policy)
      return Promise.resolve(['--isolation', 'process', '--ssl-client-policy', directory.file('policy.toml')])
    },
  })
  const programs = [await deployment.startSupernode('one'), await deployment.startSupernode('two')]
  const { issued } = await deployment.ca.issue('crowd')
  const tls = fixedTlsSource({
    rootsPem: deployment.ca.issued.certificatePem,
    certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem },
  })
  const settings = { keyIsAutomatic: true, tags: {}, hasCertificate: true, maxRetries: undefined, maxWaitMs: undefined }
  const stop = new AbortController()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => stop.abort())
  const { log, lines } = recordingLogger()
  const crowd = Array.from({ length: nodesMax }, (_, index) => {
    const headers = { 'trellis-process': `node-${index}` }
    const address = deployment.fleetAddress
    const channel = stack.use(createChannel({ address, tls, component: 'crowd', transport: 'grpc', headers }))
    const config = { key: generateNodeKey(), ...settings }
    return new FleetClient({ config, channel, clock: systemClock, log, signal: stop.signal })
  })

  deployment.superlink.kill('SIGKILL')
  await deployment.superlink.end()
  await deployment.startSuperlink()
  const { superlink } = deployment
  superlink.kill('SIGSTOP')
  stack.defer(() => superlink.kill('SIGCONT'))
  const startedAt = performance.now()
  let isOver = false
  const all = Promise.all(crowd.map((node) => node.join())).finally(() => {
    isOver = true
  })
  all.catch(() => {})
  await delay(stoppedMs)
  while (!isOver) {
    superlink.kill('SIGCONT')
    await delay(runMs)
    if (isOver) break
    superlink.kill('SIGSTOP')
    await delay(pauseMs)
  }
  superlink.kill('SIGCONT')
  await all
  const failed = lines.filter((line) => line.startsWith('warn Waiting for the SuperLink')).length
  t.diagnostic(`all in after ${((performance.now() - startedAt) / 1000).toFixed(1)} s; ${failed} had to try again`)
  assert.equal(new Set(crowd.map(({ nodeId }) => nodeId)).size, nodesMax)
  for (const program of programs) {
    await program.line(/The SuperLink responds again/)
    assert.equal(program.hasEnded, false)
  }
})
