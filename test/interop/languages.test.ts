import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectedDigest, type Language, writeBilingualApp } from '../harness/bilingual-app.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { withoutPython } from '../harness/python-flower.ts'

/** Trains on that fleet; the bytes at the end must be those that are worked out here. */
async function trainToTheBit(fleet: MixedFleet, server: Language, client: Language): Promise<void> {
  const app = writeBilingualApp(fleet.directory.file(`${server}-and-${client}`), { server, client })
  const run = await fleet.flwr('trellis', ['run', app, '--stream'])
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`), `${server} and ${client}`)
}

test('a TypeScript ServerApp at our SuperLink and Python ClientApps of both releases end at the same bits', {
  skip: withoutPython,
}, async () => {
  await using fleet = await MixedFleet.create({ superlink: 'trellis' })
  await fleet.startSupernode('1.29')
  await fleet.startSupernode('1.41')
  await trainToTheBit(fleet, 'typescript', 'python')
})

for (const python of ['1.29', '1.41'] as const) {
  test(`at our SuperLink and SuperNodes apps of both languages end at the same bits, Python's run by ${python}`, {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', python })
    await fleet.startSupernode('trellis')
    await fleet.startSupernode('trellis')
    await trainToTheBit(fleet, 'python', 'typescript')
    await trainToTheBit(fleet, 'typescript', 'python')
    await trainToTheBit(fleet, 'python', 'python')
  })
}
