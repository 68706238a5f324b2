import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually, type TestProgram } from '../harness/program.ts'
import { withoutPython } from '../harness/python-flower.ts'

const startMs = 180_000
const clockModule = joinPath(import.meta.dirname, '..', 'harness', 'clock-offset.mjs')
const needsSshKeygen = spawnSync('ssh-keygen', ['-?']).error ? 'ssh-keygen is not installed' : false

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
