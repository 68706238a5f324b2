import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { BalancedSuperlinks, withoutBalancer } from '../harness/balanced-superlinks.ts'
import { eventually, type TestProgram } from '../harness/program.ts'

/** Three SuperLinks on one database behind HAProxy, over mutual TLS: one serves, two stand by. */

/** Programs that wait for each other on a busy machine take long. */
const patienceMs = 280_000
let fleet: BalancedSuperlinks
let nodes: TestProgram[]

before(async () => {
  if (withoutBalancer) return
  fleet = await BalancedSuperlinks.start(3)
  nodes = [await fleet.deployment.startSupernode('node-1'), await fleet.deployment.startSupernode('node-2')]
})
after(() => fleet?.[Symbol.asyncDispose]())

const startRun = (rounds: number): TestProgram => {
  const config = `rounds = ${rounds}\npause-ms = 200`
  const app = fleet.deployment.writeApp({ server: countingServer, client: countingClient, config })
  return fleet.deployment.start('flwr', ['run', app, '--stream'])
}

/** Each round adds one to each weight, once: a message that was lost or handled twice would show. */
async function completes(run: TestProgram, rounds: number): Promise<void> {
  const ended = await run.end(patienceMs)
  await run.heard()
  assert.equal(ended, 0, [run, ...fleet.superlinks].map(({ said }) => said).join('\n----\n'))
  assert.match(run.said, new RegExp(`weights: ${rounds} ${rounds + 10}\\b`))
  assert.match(run.said, /finished:completed/)
}

test('a training and its stream continue though the active SuperLink is killed, and then the next one', {
  skip: withoutBalancer,
}, async (t) => {
  for (const standby of fleet.superlinks.slice(1)) await standby.line(/is in use by the SuperLink at 127\.0\.0\.1, /)
  const readyAt = `http://${(await fleet.superlinks[1]?.line(/health server on (\S+)/))?.[1]}/readyz`
  const notReady = await fetch(readyAt)
  assert.equal(notReady.status, 503)
  assert.match(await notReady.text(), /this one is a standby .* It has waited since 20/)
  const run = startRun(4)
  for (const round of [2, 3]) {
    await run.line(new RegExp(`ROUND ${round}/4`), patienceMs)
    const active = await fleet.active()
    fleet.superlinks[active]?.kill('SIGKILL')
    await fleet.superlinks[active]?.end()
    const killedAt = performance.now()
    await fleet.active()
    t.diagnostic(`a standby served after ${Math.round(performance.now() - killedAt)} ms`)
    await fleet.restart(active).line(/this one is a standby/)
  }
  await completes(run, 4)
})

test('a SuperLink that was taken over while it was cut off stops serving and becomes the standby', {
  skip: withoutBalancer,
}, async () => {
  const active = await fleet.active()
  const former = fleet.superlinks[active] as TestProgram
  // The session ends on the server, as it does when the network to this SuperLink alone is cut: a standby gets the lock.
  await fleet.database.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted`,
    'flower',
  )
  await former.line(/taken over by another SuperLink .* This one stops serving and becomes its standby\./)
  await former.line(/becomes its standby\.[\s\S]*this one is a standby and takes over/)
  await fleet.active()
  // `flwr run` does not wait for a SuperLink, and HAProxy sees only at its next check which one serves.
  await eventually('a response through HAProxy', async () => (await fleet.deployment.flwr('ls')).status === 0)
  await completes(startRun(1), 1)
})

test('a revocation acts at the SuperLink that has taken over', { skip: withoutBalancer }, async () => {
  const { ca } = fleet.deployment
  const { issued } = await ca.issue('node-3')
  const args = ['--root-certificates', ca.certfile, '--superlink', fleet.deployment.fleetAddress]
  const pair = [
    '--ssl-client-certfile',
    `${ca.directory}/node-3.pem`,
    '--ssl-client-keyfile',
    `${ca.directory}/node-3.key`,
  ]
  const node = fleet.deployment.start('flower-supernode', [...args, ...pair])
  await node.line(/SuperNode ID/)
  writeFileSync(`${fleet.crl}.new`, await ca.crl([issued], 2))
  renameSync(`${fleet.crl}.new`, fleet.crl)
  assert.equal(await node.end(), 1)
  await node.heard()
  assert.match(node.said, /revoked/)
  assert.deepEqual(
    nodes.map(({ hasEnded }) => hasEnded),
    [false, false],
  )
})
