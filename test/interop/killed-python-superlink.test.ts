import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually } from '../harness/program.ts'
import { withoutPython } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

const startMs = 180_000

/** A model of 100 MB that every round makes larger by one in each weight. */
const server = `
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const strategy = new FedAvg({ fractionEvaluate: 0, minAvailableNodes: 1, minTrainNodes: 1 })
  const w = new Float32Array(25e6)
  for (let index = 0; index < w.length; index++) w[index] = index % 1000
  const { arrays } = await strategy.start(grid, new ArrayRecord({ w: NdArray.from(w) }), { numRounds: 1 })
  const values = arrays.get('w').values()
  let right = 0
  for (let index = 0; index < values.length; index++) if (values[index] === (index % 1000) + 1) right++
  log.info(\`right: \${right}\`)
})
`
const client = `
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const arrays = message.content.arrays('arrays')
  const w = arrays.get('w').values().slice()
  for (let index = 0; index < w.length; index++) w[index]++
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
    // Everything that the SuperNode has said counts: the second outage needs a second sentence.
    const said = (sentence: RegExp, times: number): Promise<unknown> =>
      eventually(`${sentence}, ${times} times`, () => (node.said.match(sentence)?.length ?? 0) >= times, startMs)
    for (const [index, line] of [/\[Fleet\.GetFab\]/, /\[Fleet\.PushMessages\]/].entries()) {
      await fleet.superlink.line(line, startMs)
      fleet.superlink.kill('SIGKILL')
      await fleet.superlink.end()
      await said(/Waiting for the SuperLink/g, index + 1)
      await fleet.startSuperlink()
      await said(/The SuperLink responds again/g, index + 1)
    }
    // Flower's SuperLink ends a stream if its database is busy for five seconds, as it is with objects of a slow disk.
    const follow = () => fleet.flwr('trellis', ['log', runId, '--stream'])
    let log = await follow()
    for (let index = 0; index < 10 && !/finished:/.test(log.said); index++) log = await follow()
    assert.match(log.said, /right: 25000000/)
    assert.match(log.said, /finished:completed/)
    assert.equal(node.said.match(/SuperNode ID: /g)?.length, 1)
  })
}
