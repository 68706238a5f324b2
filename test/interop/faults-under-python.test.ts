import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually, type TestProgram } from '../harness/program.ts'
import { withoutPython } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

const startMs = 180_000
const clockModule = joinPath(import.meta.dirname, '..', 'harness', 'clock-offset.mjs')
const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

/** A model of 100 MB that every round makes larger by one in each weight. */
const server = `
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const strategy = new FedAvg({ fractionEvaluate: 0, minAvailableNodes: 1, minTrainNodes: 1 })
  const initial = new ArrayRecord({ w: NdArray.from(Float32Array.from({ length: 25e6 }, (_, index) => index % 1000)) })
  const { arrays } = await strategy.start(grid, initial, { numRounds: 1 })
  const values = [...arrays.get('w').values()]
  log.info(\`right: \${values.filter((value, index) => value === (index % 1000) + 1).length}\`)
})
`
const client = `
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const arrays = message.content.arrays('arrays')
  const w = Float32Array.from(arrays.get('w').values(), (value) => value + 1)
  const metrics = new MetricRecord({ 'num-examples': 1 })
  return message.reply(new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(w) }), metrics }))
})
`

for (const release of ['1.29', '1.41'] as const) {
  test(`Python ${release}'s SuperLink is killed while our SuperNode gets and while it sends 100 MB, and the run goes on`, {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: release, isolation: 'process', getsSignals: true })
    fleet.startSuperexec(fleet.appAddress, 'serverapp')
    const node = await fleet.startSupernode('trellis')
    const app = writeApp(fleet.directory.file('app'), { server, client })
    const started = await fleet.flwr('trellis', ['run', app, '--format', 'json'])
    const runId = String(JSON.parse(started.stdout)['run-id'])
    for (const line of [/\[Fleet\.GetFab\]/, /\[Fleet\.PushMessages\]/]) {
      await fleet.superlink.line(line, startMs)
      fleet.superlink.kill('SIGKILL')
      await fleet.superlink.end()
      await node.line(/Waiting for the SuperLink/)
      await fleet.startSuperlink()
      await node.line(/The SuperLink responds again/, startMs)
    }
    const log = await fleet.flwr('trellis', ['log', runId, '--stream'])
    assert.match(log.said, /right: 25000000/)
    assert.match(log.said, /finished:completed/)
    assert.equal(node.said.match(/SuperNode ID: /g)?.length, 1)
  })
}

for (const release of ['1.29', '1.41'] as const) {
  test(`the same key on two nodes, and clocks that are five minutes apart, at Python ${release}'s SuperLink`, {
    skip: withoutPython || needsSshKeygen,
  }, async () => {
    await using fleet = await MixedFleet.create({
      superlink: release,
      superlinkArguments: ['--enable-supernode-auth'],
    })
    const join = (keyfile: string, clockOffsetMs = 0): TestProgram =>
      fleet.start(
        'trellis',
        'flower-supernode',
        [
          ...['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress],
          ...['--auth-supernode-private-key', keyfile],
        ],
        { NODE_OPTIONS: `--import ${clockModule}`, TEST_CLOCK_OFFSET_MS: String(clockOffsetMs) },
      )
    const key = await fleet.registerKey('trellis', 'shared')
    const first = join(key.file)
    await first.line(/SuperNode ID: /)
    const second = join(key.file)
    await second.line(/a SuperNode with the same key is online.* trying for that long/)
    first.kill()
    assert.equal(await first.end(), 0)
    const [, nodeId] = await second.line(/SuperNode ID: (\d+)/)
    assert.equal(nodeId, key.nodeId)

    const { file } = await fleet.registerKey('trellis', 'skewed')
    for (const [minutes, welcome] of [
      [5, false],
      [-4.9, true],
      [-5.2, false],
    ] as const) {
      const node = join(file, minutes * 60_000)
      if (welcome) {
        await node.line(/SuperNode ID: /)
        node.kill()
        assert.equal(await node.end(), 0)
      } else {
        assert.equal(await node.end(), 1)
        assert.match(node.said, /the clock of this machine says .*, which must be at most 5 s ahead/)
      }
    }
  })

  test(`Python ${release}'s SuperLink that lost its state gets our SuperNode again, as a new node`, {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: release, getsSignals: true })
    const node = await fleet.startSupernode('trellis')
    fleet.superlink.kill('SIGKILL')
    await fleet.superlink.end()
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${fleet.directory.file('state.db')}${suffix}`, { force: true })
    await fleet.startSuperlink()
    await node.line(/does not know node \d+ any more: joining again/, startMs)
    const ids = await eventually('the new node', () => {
      const found = [...node.said.matchAll(/SuperNode ID: (\d+)/g)].map(([, id]) => id)
      return found.length === 2 && found
    })
    const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
    const nodes = JSON.parse(stdout).nodes as Record<string, string>[]
    assert.deepEqual(
      nodes.map((one) => [one['node-id'], one.status]),
      [[ids[1], 'online']],
    )
  })
}

test('our SuperExec says which releases it works for when it meets one between them', {
  skip: withoutPython,
}, async () => {
  await using fleet = await MixedFleet.create({ superlink: '1.36', isolation: 'process' })
  const superexec = fleet.start('trellis', 'flower-superexec', [
    '--insecure',
    '--runtime-api-address',
    fleet.appAddress,
  ])
  assert.equal(await superexec.end(), 1)
  assert.match(superexec.said, /older than 1\.39 and newer than 1\.29\. Trellis .* Flower 1\.29\.0 and 1\.39 to 1\.\d+/)
  assert.doesNotMatch(superexec.said, /bug/)
})
