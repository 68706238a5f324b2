import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { askingServer } from '../harness/apps.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually } from '../harness/program.ts'
import { withoutPython } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

const startMs = 180_000
const lateTtlSeconds = 20

// They wait for time-outs of Flower more than they do, so all at once.
describe('silence', { concurrency: true }, () => {
  for (const release of ['1.29', '1.41'] as const) {
    test(`our SuperNode says what it waits for when Python ${release}'s SuperLink falls silent, and goes on when it speaks again`, {
      skip: withoutPython,
    }, async () => {
      await using fleet = await MixedFleet.create({ superlink: release, getsSignals: true })
      const node = await fleet.startSupernode('trellis')
      await node.line(/does not hold requests/)
      fleet.superlink.kill('SIGSTOP')
      try {
        await node.line(/Waiting for the SuperLink: \S+ did not answer in time/, startMs)
      } finally {
        fleet.superlink.kill('SIGCONT')
      }
      await node.line(/The SuperLink responds again/, startMs)
      assert.equal(node.said.match(/SuperNode ID: /g)?.length, 1)
      assert.equal(node.hasEnded, false)
    })

    test(`replies after their time, and a node of ours that falls silent, become errors for a ServerApp at Python ${release}'s SuperLink`, {
      skip: withoutPython,
    }, async () => {
      await using fleet = await MixedFleet.create({ superlink: release, isolation: 'process' })
      fleet.startSuperexec(fleet.appAddress, 'serverapp')
      const node = await fleet.startSupernode('trellis')
      const ask = (actions: string, ttl: number): Promise<{ said: string }> => {
        const config = `actions = "${actions}"\nttl = ${ttl}`
        const app = writeApp(fleet.directory.file(`app-${ttl}`), { server: askingServer, client: slowClient, config })
        return fleet.flwr('trellis', ['run', app, '--stream'])
      }
      // The node is free again long before the time of the quick one is over, also beside the programs of other tests.
      const late = await ask('slow,quick', lateTtlSeconds)
      assert.match(late.said, /slow: error \d /)
      assert.match(late.said, /quick: answered/)

      const hanging = ask('hang', 600)
      await node.line(/hanging/, startMs)
      node.kill('SIGSTOP')
      try {
        assert.match((await hanging).said, /hang: error 5 /)
      } finally {
        node.kill('SIGCONT')
      }
      // The next beat brings it online again, under the same id.
      await eventually(
        'the return of the node',
        async () => {
          const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
          return JSON.parse(stdout).nodes[0].status === 'online'
        },
        startMs,
      )
      assert.match((await ask('quick', 60)).said, /quick: answered/)
      assert.equal(node.said.match(/SuperNode ID: /g)?.length, 1)
    })
  }
})

/** Does what it is asked to: replies after the message's time, or after a signal that its node was stopped. */
const slowClient = `
import { ClientApp, RecordDict } from 'trellis-fl'
export const app = new ClientApp().query(async (message) => {
  const action = message.content.get('config').get('action')
  if (action === 'hang') console.error('hanging')
  const pauseMs = { slow: ${lateTtlSeconds + 2}_000, hang: 70_000 }[action] ?? 0
  await new Promise((resolve) => setTimeout(resolve, pauseMs))
  return message.reply(new RecordDict())
})
`
