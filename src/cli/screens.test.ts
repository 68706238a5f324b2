import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { create } from '@bufbuild/protobuf'
import { StandInControl } from '../../test/harness/stand-in-control.ts'
import { ShowCallerResponseSchema } from '../gen/flwr/proto/control_pb.ts'
import type { NodeInfo } from '../gen/flwr/proto/node_pb.ts'
import { type Run, RunSchema } from '../gen/flwr/proto/run_pb.ts'
import { emptySeries, withEvents } from '../web/run-series.ts'
import { stepsTable } from './commands/tls.ts'
import { callerText } from './commands/whoami.ts'
import { nodeTable, nodeToJson } from './node-table.ts'
import { streamLines } from './progress.ts'
import { runDetails, runTable } from './run-table.ts'
import { runToJson } from './run-view.ts'

/** The screens of the commands as their users see them, in terminals of 60, 80 and 160 columns, and in a file. */

const now = '2026-11-29T09:00:00.000Z'
const inFile = Number.POSITIVE_INFINITY
const screen = (text: string): string => `\n${stripVTControlCharacters(text)}\n`

const run = (runId: bigint, fabId: string, rest: object) =>
  create(RunSchema, { runId, federation: '@none/default', fabId, fabVersion: '1.0.0', ...rest })
const runs = [
  run(11584445009128230339n, 'lab/xgboost', {
    status: { status: 'running' },
    pendingAt: '2026-11-29T08:56:00.000Z',
    runningAt: '2026-11-29T08:57:00.000Z',
    waitingFor: '1 of 5 replies: node-2 works on it',
    waitingSince: '2026-11-29T08:59:00.000Z',
    waitingRemedy: 'Look at its log.',
  }),
  run(7771750300813711026n, 'lab/digits', {
    status: { status: 'finished', subStatus: 'failed', details: 'ValueError: no data at node-3' },
    runningAt: '2026-11-28T08:00:00.000Z',
    finishedAt: '2026-11-28T09:00:00.000Z',
  }),
]

test('flwr ls shows status and age of runs in a narrow terminal, and exact instants in a file', () => {
  assert.equal(screen(runTable(runs, now, 60)), screen60)
  assert.equal(screen(runTable(runs, now, 80)), screen80)
  assert.equal(screen(runTable(runs, now, 160)), screen160)
  assert.match(runTable(runs, now, inFile), /11584445009128230339.*2026-11-29 08:57:00Z/)
})

test('flwr ls shows why a run has achieved nothing, and with --run-id the configuration of the run', () => {
  const value = (number: number) => ({ scalar: { case: 'double', value: number } }) as const
  const details = 'All 6 replies to train messages were errors, the first: no data'
  const fruitless = run(7n, 'lab/digits', {
    status: { status: 'finished', subStatus: 'completed', details },
    appConfig: { epochs: value(3), 'learning-rate': value(0.1) },
    overrideConfig: { 'learning-rate': value(0.5) },
  })
  assert.match(runTable([fruitless], now, 80), new RegExp(`^Run 7 completed, but: ${details}$`, 'm'))
  const shown = stripVTControlCharacters(runDetails(fruitless, now))
  assert.match(shown, /^Config: epochs +3$/m)
  assert.match(shown, /^Config: learning-rate +0\.5 \(app: 0\.1\)$/m)
  const { config } = runToJson(fruitless, now) as { config: unknown }
  assert.deepEqual(config, { epochs: '3', 'learning-rate': '0.5 (app: 0.1)' })
})

test('the status of a run is green only if the run achieved something', (t) => {
  const { FORCE_COLOR } = process.env
  t.after(() => {
    delete process.env.FORCE_COLOR
    if (FORCE_COLOR !== undefined) process.env.FORCE_COLOR = FORCE_COLOR
  })
  process.env.FORCE_COLOR = '1'
  const [, failed] = runs as [Run, Run]
  const completed = run(8n, 'lab/digits', { status: { status: 'finished', subStatus: 'completed' } })
  const withDetails = { status: 'finished', subStatus: 'completed', details: 'All 6 replies were errors' }
  const text = runTable([completed, run(7n, 'lab/digits', { status: withDetails }), failed], now, 160)
  const [green, yellow, red] = [32, 33, 31].map((code) => `\x1b[${code}mfinished:`)
  const colours = text.split('\n').map((line) => [green, yellow, red].find((one) => line.includes(one as string)))
  assert.deepEqual(
    colours.filter((one) => one !== undefined),
    [green, yellow, red],
  )
})

test('flwr supernode ls shows status and expiry of SuperNodes in a narrow terminal, and exact instants in a file', async () => {
  const { nodesInfo } = await new StandInControl({ nodes: 3, markup: false }).client.listNodes({})
  assert.equal(screen(nodeTable(nodesInfo, now, 60)), nodes60)
  assert.equal(screen(nodeTable(nodesInfo, now, 80)), nodes80)
  assert.equal(screen(nodeTable(nodesInfo, now, 160)), nodes160)
  assert.match(nodeTable(nodesInfo, now, inFile), /2026-11-29 08:01:00Z.*2026-12-01 08:00:30Z \(in 1d 23h\)/)
})

test('flwr supernode ls shows tags if a SuperNode has some, and always in JSON', async () => {
  const { nodesInfo } = await new StandInControl({ nodes: 2, markup: false }).client.listNodes({})
  const [first, second] = nodesInfo as [NodeInfo, NodeInfo]
  assert.doesNotMatch(nodeTable([first, second], now, inFile), /Tags/)
  const tagged = { ...first, tags: { region: 'eu', gpu: 'a100' } }
  assert.match(nodeTable([tagged, second], now, inFile), /Tags[\s\S]*gpu=a100, region=eu/)
  assert.doesNotMatch(nodeTable([tagged, second], now, 60), /Tags/)
  assert.deepEqual(
    [tagged, second].map((node) => JSON.stringify((nodeToJson(node, now) as { tags: unknown }).tags)),
    ['{"region":"eu","gpu":"a100"}', '{}'],
  )
})

test('flwr whoami shows identity, permissions and what is left of the certificate', () => {
  const caller = create(ShowCallerResponseSchema, {
    authMethod: 'certificate',
    accountName: 'alice',
    organization: 'Hospital A',
    roles: ['cli', 'admin'],
    runScope: 'organization',
    certificateSerial: '5F0C',
    certificateNotAfter: Date.parse('2026-12-09T10:30:00Z') / 1000,
    now,
  })
  assert.equal(screen(callerText(caller, 'fleet')), whoami)
  assert.match(
    callerText(create(ShowCallerResponseSchema, { authMethod: 'none', now }), 'local'),
    /none: this SuperLink requires no client certificate/,
  )
})

test('flwr tls check continues long sentences below each other, and names no fault twice', () => {
  const detail = 'The client certificate is not signed by a CA that this SuperLink trusts: use one of its client CA.'
  const steps: Parameters<typeof stepsTable>[0] = [
    { link: 'file', outcome: 'ok', detail: 'node.pem and node.key belong together.' },
    { link: 'chain', outcome: 'broken', detail },
  ]
  assert.equal(screen(stepsTable(steps, 60)), steps60)
  assert.equal(screen(stepsTable(steps, 80)), steps80)
  assert.match(stepsTable(steps, 160), new RegExp(detail))
})

test('the stream shows how far a run is and its metrics, and nothing is cut off in a narrow terminal', () => {
  const event = (event: string, seconds: number, data: object) => ({
    ...{ id: '1', at: new Date(seconds * 1000).toISOString() },
    ...{ event, data: JSON.stringify(data) },
  })
  const progress = (seconds: number, data: object) => event('trellis.progress', seconds, { rounds: 5, ...data })
  const series = withEvents(emptySeries(), [
    progress(1, { round: 1, phase: 'train', metrics: { loss: 0.9 } }),
    progress(2, { round: 1, phase: 'evaluate', metrics: { accuracy: 0.5 } }),
    progress(10, { round: 1, phase: 'round-end' }),
    progress(20, { round: 2, phase: 'round-end' }),
    progress(21, { round: 3, phase: 'train', metrics: { loss: 0.45678901 } }),
    event('trellis.replies', 22, {
      asked: 20,
      replied: 17,
      failed: 1,
      late: ['hospital-a', 'hospital-b', 'hospital-c'],
    }),
  ])
  const shown = (columns: number): string =>
    screen(streamLines(series, { elapsedSeconds: 24, waits: false, columns }).join('\n'))
  assert.equal(shown(60), streamNarrow)
  assert.equal(shown(80), streamNarrow)
  assert.equal(shown(160), stream160)
  const late = ['north', 'east', 'south', 'west', 'centre'].map((name) => `hospital-${name}.example.org`)
  const waiting = withEvents(emptySeries(), [event('trellis.replies', 1, { asked: 5, replied: 0, failed: 0, late })])
  const five = streamLines(waiting, { elapsedSeconds: 24, waits: false, columns: 60 })
  assert.equal(screen(five.join('\n')), streamFiveLate)
  const before = { elapsedSeconds: 1, columns: 80 }
  assert.deepEqual(streamLines(emptySeries(), { ...before, waits: false }), ['1s · waiting for the ServerApp'])
  assert.deepEqual(streamLines(emptySeries(), { ...before, waits: true }), ['1s · waiting for the SuperLink'])
})

const streamNarrow = `
━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌ · 24s · round 3/5 · train
17 of 20 nodes replied, 1 with an error
late: hospital-a, hospital-b, hospital-c · about 30s left
evaluate accuracy ▁ 0.5000
train loss        █▁ 0.4568
`
const streamFiveLate = `
24s · 0 of 5 nodes replied
late: hospital-north.example.org, hospital-east.example.org,
hospital-south.example.org, hospital-west.example.org,
hospital-centre.example.org
`
const stream160 = `
━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌ · 24s · round 3/5 · train · 17 of 20 nodes replied, 1 with an error · late: hospital-a, hospital-b, hospital-c · about 30s left
evaluate accuracy ▁ 0.5000
train loss        █▁ 0.4568
`
const steps60 = `
Step    Result   What was found
──────────────────────────────────────────────────────────
file    ok       node.pem and node.key belong together.
chain   FAILED   The client certificate is not signed by a
                 CA that this SuperLink trusts: use one of
                 its client CA.
`
const steps80 = `
Step    Result   What was found
───────────────────────────────────────────────────────────────────────
file    ok       node.pem and node.key belong together.
chain   FAILED   The client certificate is not signed by a CA that this
                 SuperLink trusts: use one of its client CA.
`
const screen60 = `
Run ID     App                   Status            Changed
────────────────────────────────────────────────────────────
11584445   @lab/xgboost==1.0.0   running           3 min ago
77717503   @lab/digits==1.0.0    finished:failed   1 d ago
2 columns are hidden: --wide shows all.
Run 11584445009128230339 waits for 1 of 5 replies: node-2 works on it, since 2026-11-29 08:59:00Z. Look at its log.
Run 7771750300813711026 failed: ValueError: no data at node-3
`
const screen80 = `
Run ID     App                   Status            Elapsed   Changed
──────────────────────────────────────────────────────────────────────
11584445   @lab/xgboost==1.0.0   running           3m 0s     3 min ago
77717503   @lab/digits==1.0.0    finished:failed   1h 0m     1 d ago
One column is hidden: --wide shows all.
Run 11584445009128230339 waits for 1 of 5 replies: node-2 works on it, since 2026-11-29 08:59:00Z. Look at its log.
Run 7771750300813711026 failed: ValueError: no data at node-3
`
const screen160 = `
Run ID                 Federation      App                   Status            Elapsed   Changed
──────────────────────────────────────────────────────────────────────────────────────────────────
11584445009128230339   @none/default   @lab/xgboost==1.0.0   running           3m 0s     3 min ago
7771750300813711026    @none/default   @lab/digits==1.0.0    finished:failed   1h 0m     1 d ago
Run 11584445009128230339 waits for 1 of 5 replies: node-2 works on it, since 2026-11-29 08:59:00Z. Look at its log.
Run 7771750300813711026 failed: ValueError: no data at node-3
`
const whoami = `
Connection     fleet
Identity       alice
Organization   Hospital A
Role           cli, admin
Runs           those of its organization
Serial         5F0C
Expires        in 10d 1h, on 2026-12-09 10:30:00Z
`
const nodes60 = `
Node ID   Status    Identity   Certificate Expires
──────────────────────────────────────────────────
1000      online    node-0     in 1d 23h
1001      offline   node-1     in 1d 23h
1002      online    node-2     in 4h 0m
6 columns are hidden: --wide shows all.
`
const nodes80 = `
Node ID   Status    Elapsed   Changed      Identity   Certificate Expires
─────────────────────────────────────────────────────────────────────────
1000      online    59m 0s    59 min ago   node-0     in 1d 23h
1001      offline             30 min ago   node-1     in 1d 23h
1002      online    59m 0s    59 min ago   node-2     in 4h 0m
4 columns are hidden: --wide shows all.
`
const nodes160 = `
Node ID   Owner   Status    Elapsed   Changed      Identity   Organization   Auth          Serial   Certificate Expires
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
1000              online    59m 0s    59 min ago   node-0     Hospital A     certificate            in 1d 23h
1001              offline             30 min ago   node-1     Hospital B     certificate            in 1d 23h
1002              online    59m 0s    59 min ago   node-2     Hospital A     certificate            in 4h 0m
`
