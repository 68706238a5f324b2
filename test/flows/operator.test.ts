import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ledgerClient, ledgerServer } from '../crash/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually } from '../harness/program.ts'
import { randomFrom } from '../harness/random.ts'

test('an operator blocks a SuperNode by its name, sees that, and lets it in again', async () => {
  await using deployment = await Deployment.create({
    mutualTls: true,
    superlinkArguments: async ({ directory: { file } }) => {
      const everybody = '[[allow]]\nidentity = "*"\nroles = ["supernode", "cli"]\n'
      writeFileSync(file('policy.toml'), `${everybody}[[allow]]\nidentity = "cli"\nroles = ["admin"]\n`)
      return ['--ssl-client-policy', file('policy.toml')]
    },
  })
  const node = await deployment.startSupernode('node-1')
  const blocked = await deployment.flwr('supernode', 'block', 'node-1')
  assert.equal(blocked.status, 0, blocked.said)
  assert.match(blocked.said, /^SuperNode \d+ blocked: it is refused until flwr supernode unblock\.$/m)
  assert.equal(await node.end(), 1)
  assert.match(node.said, /An operator of this SuperLink has blocked the SuperNode \(node-1\)/)
  assert.match((await deployment.flwr('supernode', 'ls')).stdout, /offline \(blocked\)/)
  const listed = JSON.parse((await deployment.flwr('supernode', 'ls', '--format', 'json')).stdout)
  assert.equal(listed.nodes[0].admission, 'blocked')
  const unblocked = await deployment.flwr('supernode', 'unblock', 'node-1', '--format', 'json')
  assert.equal(JSON.parse(unblocked.stdout).admission, 'open', unblocked.said)
  await deployment.startSupernode('node-1')
  const unknown = await deployment.flwr('supernode', 'drain', 'node-7')
  assert.match(unknown.said, /There is no SuperNode 'node-7': see flwr supernode ls\./)
})

test('a SuperLink whose disk is full says so everywhere, and works again when there is room', async (t) => {
  using directory = temporaryDirectory()
  const disk = directory.file('disk')
  mkdirSync(disk)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk]).status === 0
  if (!mounted) return t.skip('only root may mount a file system that fills up')
  try {
    await using deployment = await Deployment.create({
      superlinkArguments: [
        ...['--database', join(disk, 'state.db'), '--isolation', 'process', '--health-server-address', '127.0.0.1:0'],
      ],
    })
    const { superlink } = deployment
    const [, address] = await superlink.line(/health server on (\S+)/)
    const get = async (path: string): Promise<string> => {
      const response = await fetch(`http://${address}${path}`)
      return `${response.status} ${await response.text()}`
    }
    const app = deployment.writeApp({ server: '', client: '' })
    const before = /Successfully started run (\d+)/.exec((await deployment.flwr('run', app)).said)?.[1]
    assert.equal(await get('/readyz'), '200 ok\n')

    const filler = join(disk, 'filler')
    const { bavail, bsize } = statfsSync(disk)
    writeFileSync(filler, Buffer.alloc(bavail * bsize))
    const large = deployment.writeApp({ server: `// ${randomText(400_000)}`, client: '', name: 'large' })
    const refused = await deployment.flwr('run', large)
    assert.equal(refused.status, 1, refused.said)
    assert.match(refused.said, /The disk of the server is full, so nothing of this call was stored/)
    await superlink.line(/ERROR.*The disk that holds \S+ is full: free some space on it\./)
    assert.match(await get('/readyz'), /^503 The disk that holds \S+ is full/)
    assert.match(await get('/metrics'), /^trellis_storage_full 1$/m)
    assert.match((await deployment.flwr('ls')).stdout, new RegExp(`^${before} `, 'm'), 'reads go on')
    const shown = await deployment.flwr('log', before ?? '', '--show')
    assert.match(shown.stdout, /\[The disk of the SuperLink is full: this run waits/)

    const second = deployment.start('flower-superlink', [
      ...['--insecure', '--isolation', 'process', '--database', join(disk, 'other.db'), '--port', '0'],
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0'],
    ])
    assert.equal(await second.end(), 1)
    assert.match(second.said, /^The database \S+ cannot be written because the disk is full: free some space\.$/m)

    rmSync(filler)
    await superlink.line(/There is room again on the disk that holds/)
    await eventually('it is ready', async () => (await get('/readyz')) === '200 ok\n')
    assert.match(await get('/metrics'), /^trellis_storage_full 0$/m)
    assert.match((await deployment.flwr('run', large)).said, /Successfully started run \d+/)
  } finally {
    spawnSync('umount', ['-l', disk])
  }
})

test('a run that stands still says what it waits for, in flwr ls, in its log and in the metrics', async () => {
  await using deployment = await Deployment.create({
    superlinkArguments: ['--isolation', 'process', '--health-server-address', '127.0.0.1:0', '--quota-run-disk', '1M'],
  })
  const [, address] = await deployment.superlink.line(/health server on (\S+)/)
  const metrics = async (): Promise<string> => (await fetch(`http://${address}/metrics`)).text()
  const config = `ledger = ${JSON.stringify(deployment.directory.file('ledger'))}\nfloats = 500000\nrounds = 1`
  const app = deployment.writeApp({ server: ledgerServer, client: ledgerClient, config })
  const runId = JSON.parse((await deployment.flwr('run', app, '--format', 'json')).stdout)['run-id']
  await eventually('the metric', async () => (await metrics()).includes('trellis_runs_waiting{reason="superexec"} 1'))
  const { stdout } = await deployment.flwr('ls')
  assert.match(stdout, /^Run \d+ waits for a SuperExec that launches its ServerApp, since 20\S+ \S+Z\. Start flower-/m)

  await using _superexec = deployment.start('flower-superexec', [
    ...['--insecure', '--runtime-api-address', deployment.mainAddress],
  ])
  await eventually('the metric', async () => (await metrics()).includes('trellis_runs_waiting{reason="nodes"} 1'))
  const { waiting } = JSON.parse((await deployment.flwr('ls', '--run-id', runId, '--format', 'json')).stdout).runs[0]
  assert.equal(waiting.for, 'more SuperNodes: none is online')
  const follower = deployment.start('flwr', ['log', runId, '--stream'])
  await follower.line(/\[Since 20\S+ \S+Z this run waits for more SuperNodes: none is online\. Start more SuperNodes/)

  // Its model has 2 MB.
  await deployment.startSupernode('node-1')
  await eventually('the metric', async () => (await metrics()).includes('trellis_runs_waiting{reason="quota"} 1'))
  assert.match(await metrics(), /^trellis_quota_limit\{quota="run-disk"\} 1048576$/m)
  await deployment.superlink.line(/run \d+ may take 1M \(--quota-run-disk of the SuperLink\)/)
  await follower.line(/this run waits for room in --quota-run-disk of the SuperLink: \S+ of 1M are used\. Ask fewer/)
  await deployment.flwr('stop', runId)
  assert.equal(await follower.end(), 0, follower.said)
})

/** Text that does not become much smaller in a FAB. */
function randomText(length: number): string {
  const random = randomFrom(1)
  return Array.from({ length }, () => random(36).toString(36)).join('')
}
