import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectedDigest, writeBilingualApp } from '../harness/bilingual-app.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { withoutPython } from '../harness/python-flower.ts'

for (const release of ['1.29', '1.41'] as const) {
  test(`our SuperNode, SuperExec, apps and flwr work for the SuperLink of Python ${release}`, {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: release, isolation: 'process', pythonState: 'memory' })
    fleet.startSuperexec(fleet.appAddress, 'serverapp')
    await fleet.startSupernode('trellis')
    const app = writeBilingualApp(fleet.directory.file('app'), { server: 'typescript', client: 'typescript' })
    const run = await fleet.flwr('trellis', ['run', app, '--stream', '--run-config', 'nodes=1'])
    assert.equal(run.status, 0, run.said)
    assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`))
    assert.match(run.said, /finished:completed/)
  })
}
