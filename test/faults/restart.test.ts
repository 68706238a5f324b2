import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { countingClient, countingServer, savingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually, isAlive, type TestProgram } from '../harness/program.ts'

const slowApp = { server: countingServer, client: countingClient, config: 'rounds = 6\npause-ms = 400' }

function programOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
}

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

  // A follower of the run sees the rest of it too.
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

test('a ServerApp that saves its state goes on after its last round, however it was lost', async () => {
  await using deployment = await Deployment.create()
  await deployment.startSupernode('node-1')
  const app = { server: savingServer, client: countingClient, config: 'rounds = 6\npause-ms = 300\nfail-in = 6' }
  const started = await deployment.flwr('run', deployment.writeApp(app), '--format', 'json')
  const runId = JSON.parse(started.stdout)['run-id']
  const follower = deployment.start('flwr', ['log', runId, '--stream'])
  const killChild = (program: string): void => {
    // The SuperNode has children of this name too.
    const own = deployment.children(program).filter((pid) => programOf(pid).includes(deployment.mainAddress))
    assert.equal(own.length, 1, program)
    for (const pid of own) process.kill(pid, 'SIGKILL')
  }
  await follower.line(/begins round 2/)
  killChild('flwr-serverapp')
  await follower.line(/begins round 4/)
  killChild('flower-superexec')
  assert.equal(await follower.end(), 0, follower.said)
  const lost = follower.said.match(/\[The ServerApp was lost: .* It starts again from its checkpoint of .*\]/g)
  assert.equal(lost?.length, 2, follower.said)
  assert.match(lost?.[0] ?? '', /ended by SIGKILL/)
  assert.match(lost?.[1] ?? '', /its SuperExec has ended/)
  assert.equal(follower.said.match(/begins round 1/g)?.length, 1, 'no round is repeated that was saved')
  assert.match((await deployment.flwr('ls', '--run-id', runId)).said, /finished:failed[\s\S]*as it was told/)

  const resumed = await deployment.flwr('run', '--resume', runId, '--stream')
  assert.equal(resumed.status, 0, resumed.said)
  assert.doesNotMatch(resumed.said, /begins round [1-5]/)
  assert.match(resumed.said, /begins round 6[\s\S]*weights: 6 16/)
  const completed = /Successfully started run (\d+)/.exec(resumed.said)?.[1] ?? ''
  const refused = await deployment.flwr('run', '--resume', completed)
  assert.match(refused.said, /is completed: there is nothing to resume/)
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
