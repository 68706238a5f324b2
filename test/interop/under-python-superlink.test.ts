import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { expectedDigest, writeBilingualApp } from '../harness/bilingual-app.ts'
import { addedKeys, jsonShape } from '../harness/json-shape.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { withoutPython } from '../harness/python-flower.ts'

const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false
const skip = withoutPython || needsSshKeygen
const releases = ['1.29', '1.41'] as const

/** A SuperLink of Python that lets in nodes whose key was registered. */
function createFleet(release: (typeof releases)[number], args: readonly string[] = []): Promise<MixedFleet> {
  const offline = release === '1.41' ? ['--disable-runtime-dependency-installation'] : []
  const superlinkArguments = [...offline, ...args]
  return MixedFleet.create({ superlink: release, python: '1.41', pythonState: 'memory', superlinkArguments })
}

for (const release of releases) {
  test(`SuperNodes of ours with registered keys train under Python ${release}'s SuperLink, and our flwr tells of it`, {
    skip,
  }, async () => {
    await using fleet = await createFleet(release, ['--enable-supernode-auth'])
    const nodes = await Promise.all(
      ['node-1', 'node-2'].map(async (name) => {
        const key = await fleet.registerKey('trellis', name)
        const node = await fleet.startSupernode('trellis', ['--auth-supernode-private-key', key.file])
        assert.match(node.said, new RegExp(`SuperNode ID: ${key.nodeId}\\n`))
        return { node, ...key }
      }),
    )
    const listed = async (): Promise<string[][]> => {
      const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
      return JSON.parse(stdout)
        .nodes.map((node: Record<string, string>) => [node['node-id'], node.status])
        .sort()
    }
    const ids = nodes.map(({ nodeId }) => nodeId).sort()
    assert.deepEqual(
      await listed(),
      ids.map((id) => [id, 'online']),
    )

    const app = writeBilingualApp(fleet.directory.file('app'), { server: 'python', client: 'typescript' })
    const run = await fleet.flwr('trellis', ['run', app, '--stream'])
    assert.equal(run.status, 0, run.said)
    assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`))
    const [, runId = ''] = /Successfully started run (\d+)/.exec(run.said) ?? []
    const log = await fleet.flwr('trellis', ['log', runId, '--show'])
    assert.match(log.stdout, new RegExp(`digest: ${expectedDigest()}`))
    assert.match(nodes[0]?.node.said ?? '', /The SuperLink does not hold requests: asking every 3 s/)

    for (const line of [
      'ls',
      `ls --run-id ${runId}`,
      'ls --run-id 5',
      'supernode ls',
      'supernode unregister 5',
      'federation list',
      'federation list --federation @none/default',
      'federation list --federation @a/b',
      `stop ${runId}`,
      'stop 5',
    ]) {
      const words = [...line.split(' '), '--format', 'json']
      const [ours, theirs] = await Promise.all([fleet.flwr('trellis', words), fleet.flwr(release, words)])
      const status = JSON.parse(ours.stdout).success === false ? 1 : 0
      assert.deepEqual([ours.status, theirs.status], [status, 0], line)
      if (release === '1.29') assert.deepEqual(jsonShape(ours.stdout, addedKeys(line)), jsonShape(theirs.stdout), line)
      else assert.equal(JSON.parse(ours.stdout).success, JSON.parse(theirs.stdout).success, line)
    }

    // A node that ends says so; its key stays registered until it is taken away, and then it is told.
    const [first, second] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
    first.node.kill()
    assert.equal(await first.node.end(), 0)
    assert.deepEqual((await listed()).find(([id]) => id === first.nodeId)?.[1], 'offline')
    const unregistered = await fleet.flwr('trellis', ['supernode', 'unregister', second.nodeId])
    assert.equal(unregistered.status, 0, unregistered.said)
    assert.equal(await second.node.end(), 1)
    const refused = await fleet.flwr('trellis', ['stop', runId])
    assert.equal(refused.status, 1)
    assert.match(refused.said, /already finished/)
  })

  test(`a SuperNode of ours is told why Python ${release}'s SuperLink does not let it in`, { skip }, async () => {
    await using fleet = await createFleet(release, ['--enable-supernode-auth'])
    const join = (args: readonly string[]) =>
      fleet.start('trellis', 'flower-supernode', [
        ...['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress, ...args],
      ])
    const automatic = join([])
    assert.equal(await automatic.end(), 1)
    assert.match(automatic.said, /All SuperNodes must be registered via the CLI/)
    const unknown = join(['--auth-supernode-private-key', fleet.createKey('unknown')])
    // 1.41 uses the same words for a key that is online, which may end: the node waits a minute for that.
    if (release === '1.29') assert.equal(await unknown.end(), 1)
    await unknown.line(release === '1.29' ? /register it with flwr/ : /its key is not registered there, or .* online/)
    const other = release === '1.29' ? 'http' : 'grpc'
    const strange = join(['--transport', other])
    await strange.line(/does not speak|closed the connection|broke/)
  })

  test(`a SuperNode of ours that registered itself is gone from Python ${release}'s SuperLink after SIGTERM, and a run is stopped`, {
    skip,
  }, async () => {
    await using fleet = await createFleet(release)
    const node = await fleet.startSupernode('trellis', ['--transport', release === '1.29' ? 'grpc' : 'http'])
    // Two nodes are needed for this app: it waits for the second until it is stopped.
    const app = writeBilingualApp(fleet.directory.file('app'), { server: 'python', client: 'typescript' })
    const started = await fleet.flwr('trellis', ['run', app, '--format', 'json'])
    const runId = String(JSON.parse(started.stdout)['run-id'])
    const follower = fleet.start('trellis', 'flwr', ['log', runId, '--stream'])
    await follower.line(/Waiting for nodes|Starting FedAvg/)
    const stopped = await fleet.flwr('trellis', ['stop', runId, '--format', 'json'])
    assert.deepEqual(JSON.parse(stopped.stdout), { success: true, 'run-id': runId })
    assert.equal(await follower.end(), 0)
    assert.match(follower.said, /finished:stopped/)

    node.kill()
    assert.equal(await node.end(), 0)
    const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
    assert.deepEqual(
      JSON.parse(stdout).nodes.map(({ status }: { status: string }) => status),
      ['unregistered'],
    )
    const pulled = await fleet.flwr('trellis', ['pull', runId])
    assert.equal(pulled.status, 1)
    assert.match(pulled.said, /does not support flwr pull/)
    const login = await fleet.flwr('trellis', ['login'])
    assert.equal(login.status, 1)
    assert.match(login.said, /Account authentication is not enabled on this SuperLink/)
    for (const line of ['federation create x', 'federation archive x', 'federation add-supernode 5 @none/default']) {
      const refused = await fleet.flwr('trellis', line.split(' '))
      assert.equal(refused.status, 1, line)
      assert.match(refused.said, /does not support federation management|not found or you are not its owner/, line)
    }
  })
}

test("our flwr lists more runs than Python 1.41's SuperLink hands out at once", { skip }, async () => {
  await using fleet = await MixedFleet.create({ superlink: '1.41', isolation: 'process' })
  const app = writeBilingualApp(fleet.directory.file('app'), { server: 'python', client: 'python' })
  for (let started = 0; started < 21; started += 3) {
    const runs = await Promise.all([1, 2, 3].map(() => fleet.flwr('1.41', ['run', app, '--format', 'json'])))
    for (const { stdout } of runs) assert.equal(JSON.parse(stdout).success, true)
  }
  const { stdout } = await fleet.flwr('trellis', ['ls', '--format', 'json'])
  assert.equal(JSON.parse(stdout).runs.length, 21)
  const newest = await fleet.flwr('trellis', ['ls', '--limit', '5', '--format', 'json'])
  assert.equal(JSON.parse(newest.stdout).runs.length, 5)
})
