import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually, isAlive, type TestProgram } from '../harness/program.ts'

const slowApp = { server: countingServer, client: countingClient, config: 'rounds = 6\npause-ms = 400' }

async function startRun(deployment: Deployment): Promise<string> {
  const started = JSON.parse((await deployment.flwr('run', deployment.writeApp(slowApp), '--format', 'json')).stdout)
  return started['run-id']
}

async function runOf(deployment: Deployment, runId: string): Promise<{ status: string }> {
  const { stdout } = await deployment.flwr('ls', '--run-id', runId, '--format', 'json')
  return JSON.parse(stdout).runs?.[0] ?? { status: `none: ${stdout}` }
}

async function nodeIds(deployment: Deployment): Promise<string[]> {
  const { nodes } = JSON.parse((await deployment.flwr('supernode', 'ls', '--format', 'json')).stdout)
  return nodes.map((node: { 'node-id': string; status: string }) => `${node['node-id']} ${node.status}`).sort()
}

/** Waits until the run is in the middle of a round. */
async function untilMidRound(deployment: Deployment, runId: string): Promise<TestProgram> {
  const follower = deployment.start('flwr', ['log', runId, '--stream'])
  await follower.line(/\[ROUND 2\/6\]/)
  return follower
}

test('a SuperLink killed in the middle of a round comes back, and nodes, ServerApp and run go on', async () => {
  await using deployment = await Deployment.create({ mutualTls: true, superlinkArguments: ['--isolation', 'process'] })
  await using _superexec = deployment.start('flower-superexec', [
    ...['--root-certificates', deployment.ca.certfile],
    ...['--runtime-api-address', deployment.mainAddress],
  ])
  await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const before = await nodeIds(deployment)
  const runId = await startRun(deployment)
  const follower = await untilMidRound(deployment, runId)

  deployment.superlink.kill('SIGKILL')
  await deployment.superlink.end()
  await deployment.startSuperlink()

  // Whoever follows the run sees the rest of it too.
  assert.equal(await follower.end(), 0, follower.said)
  assert.match(follower.said, /Waiting for the SuperLink/)
  assert.match(follower.said, /weights: 6 16/)
  assert.equal((await runOf(deployment, runId)).status, 'finished:completed')
  assert.deepEqual(await nodeIds(deployment), before)
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`ServerApps outlive a SuperLink that ends by ${signal}, and their run goes on at its next start`, async () => {
    // With TLS the API for apps is at a port that the system chose.
    await using deployment = await Deployment.create({ mutualTls: signal === 'SIGKILL' })
    await deployment.startSupernode('node-1')
    await deployment.startSupernode('node-2')
    const before = await nodeIds(deployment)
    const runId = await startRun(deployment)
    const follower = await untilMidRound(deployment, runId)
    const apps = deployment.children('flwr-serverapp')
    assert.equal(apps.length, 1)

    deployment.superlink.kill(signal)
    await deployment.superlink.end()
    await deployment.startSuperlink()

    assert.equal(await follower.end(), 0, follower.said)
    assert.match(follower.said, /weights: 6 16/)
    assert.equal((await runOf(deployment, runId)).status, 'finished:completed')
    assert.deepEqual(await nodeIds(deployment), before)
    // Both SuperNodes have a SuperExec, and the SuperLink has its new one.
    await eventually('the end of the ServerApp and of the SuperExec that had started it', () => {
      const superexecs = deployment.children('flower-superexec')
      return apps.every((pid) => !isAlive(pid)) && superexecs.length === 3
    })
  })
}

test('a SuperLink that ends by SIGINT leaves no process behind, and its next start says what became of the run', async () => {
  await using deployment = await Deployment.create()
  await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const before = await nodeIds(deployment)
  const runId = await startRun(deployment)
  const follower = await untilMidRound(deployment, runId)

  deployment.superlink.kill('SIGINT')
  await deployment.superlink.end()
  await eventually('the end of the ServerApp', () => deployment.children('flwr-serverapp').length === 0)
  await deployment.startSuperlink()

  assert.equal(await follower.end(), 0, follower.said)
  const { said } = await deployment.flwr('ls', '--run-id', runId)
  assert.match(said, /finished:failed/)
  // The nodes are back by themselves, with their ids, and work.
  const again = await deployment.flwr('run', 'testapp', '--stream', '-c', 'rounds=1')
  assert.equal(again.status, 0, again.said)
  assert.deepEqual(await nodeIds(deployment), before)
})

test('a SuperNode killed while it trains gets its message again when it is back', async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  const node = await deployment.startSupernode('node-1')
  await deployment.startSupernode('node-2')
  const before = await nodeIds(deployment)
  const runId = await startRun(deployment)
  const follower = await untilMidRound(deployment, runId)

  node.kill('SIGKILL')
  await node.end()
  await deployment.startSupernode('node-1')

  assert.equal(await follower.end(), 0, follower.said)
  assert.match(follower.said, /weights: 6 16/)
  assert.deepEqual(await nodeIds(deployment), before)
})

test('SuperExec and apps end with the SuperNode that started them', async () => {
  await using deployment = await Deployment.create()
  const node = await deployment.startSupernode('node-1')
  const other = await deployment.startSupernode('node-2')
  await startRun(deployment)
  const clients = await eventually('client processes', () => {
    const found = deployment.children('flwr-clientapp')
    return found.length === 2 && found
  })
  const superexecs = deployment.children('flower-superexec')
  // One of the SuperLink, two of the SuperNodes.
  assert.equal(superexecs.length, 3)

  node.kill('SIGKILL')
  other.kill('SIGKILL')
  await eventually('the end of the client processes', () => clients.every((pid) => !isAlive(pid)))
  await eventually('the end of both SuperExecs', () => superexecs.filter(isAlive).length === 1)
})
