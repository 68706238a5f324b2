import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { checkpointingServer, savingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { endProcessesWith } from '../harness/program.ts'

/**
 * All programs of a machine are killed at once, ServerApps and ClientApps included, and started again: a strategy with a
 * checkpoint and a custom ServerApp that saves its state go on after their last saved round, and an app that saves nothing
 * fails its run with the reason.
 */

/** Adds one to every weight. The third round lasts until a file is there. */
const client = `
import { existsSync } from 'node:fs'
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train(async (message, { runConfig }) => {
  const before = message.content.arrays('arrays').get('w').values()
  while (before[0] === 2 && !existsSync(String(runConfig['gate']))) await new Promise((resolve) => setTimeout(resolve, 50))
  const arrays = new ArrayRecord({ w: NdArray.from(Float32Array.from(before, (value) => value + 1)) })
  return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1 }) }))
})
`

/** Three runs share the machine with other tests, and the SuperLink waits a minute for an app that is lost. */
const patienceMs = 280_000

for (const isolation of ['subprocess', 'process'] as const) {
  const name = `runs go on after their last saved round when the machine is lost, with --isolation ${isolation}`
  test(name, { timeout: 25 * 60_000 }, async () => {
    await using deployment = await Deployment.create({
      mutualTls: true,
      superlinkArguments: ['--isolation', isolation],
    })
    const startOthers = async (): Promise<void> => {
      const { ca, mainAddress } = deployment
      if (isolation === 'process')
        deployment.start('flower-superexec', [
          ...['--root-certificates', ca.certfile, '--runtime-api-address', mainAddress],
        ])
      await deployment.startSupernode('node-1')
    }
    await startOthers()
    const gate = deployment.directory.file('gate')
    const config = `rounds = 4\ngate = ${JSON.stringify(gate)}`
    const apps = {
      strategy: { server: checkpointingServer, client, config },
      custom: { server: savingServer, client, config },
      // It waits for nodes that never come, so it has saved nothing when the machine is lost.
      nothing: { server: checkpointingServer, client, config: `${config}\nnodes = 9` },
    }
    const runs = new Map<string, string>()
    for (const [name, sources] of Object.entries(apps)) {
      const { stdout } = await deployment.flwr('run', deployment.writeApp({ name, ...sources }), '--format', 'json')
      runs.set(name, JSON.parse(stdout)['run-id'])
    }
    const follow = (name: string) => deployment.start('flwr', ['log', runs.get(name) as string, '--stream'])
    await follow('strategy').line(/\[ROUND 3\/4\]/, patienceMs)
    await follow('custom').line(/begins round 3/, patienceMs)
    await follow('nothing').line(/Waiting for nodes to connect/, patienceMs)

    endProcessesWith(deployment.environment.FLWR_HOME as string)
    await deployment.superlink.end()
    writeFileSync(gate, '')
    if (isolation === 'subprocess') startMachineAnew(deployment.directory.file('state.db'))
    await deployment.startSuperlink()
    await startOthers()

    // A SuperExec elsewhere may come back with its apps: they have a minute for it.
    const lost = isolation === 'subprocess' ? /the app that it ran ended with it/ : /the app has not come back since/
    for (const name of ['strategy', 'custom']) {
      const follower = follow(name)
      const status = await follower.end(patienceMs)
      await follower.heard()
      assert.equal(status, 0, follower.said)
      assert.equal(follower.said.match(/\[The ServerApp was lost: .*\]/g)?.length, 1, follower.said)
      assert.match(follower.said, lost)
      assert.match(follower.said, /weights: 4 14/)
    }
    const ofCustom = await deployment.flwr('log', runs.get('custom') as string, '--show')
    assert.deepEqual(
      [1, 2].map((round) => ofCustom.stdout.match(new RegExp(`begins round ${round}`, 'g'))?.length),
      [1, 1],
      'no round is repeated that was saved',
    )
    // It has saved nothing, so it ends by itself.
    const last = follow('nothing')
    assert.equal(await last.end(patienceMs), 0, last.said)
    const { said } = await deployment.flwr('ls', '--run-id', runs.get('nothing') as string)
    assert.match(said, /finished:failed/)
    assert.match(said, lost)
  })
}

/** As far as the SuperLink can see: the system has another id after each start. */
function startMachineAnew(database: string): void {
  using opened = new DatabaseSync(database)
  const { changes } = opened.prepare("UPDATE setting SET value = 'running elsewhere' WHERE name = 'apps'").run()
  assert.equal(changes, 1)
}
