import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { StandInControl } from '../../test/harness/stand-in-control.ts'
import { systemClock } from '../base/clock.ts'
import { FleetFeed } from '../dashboard/fleet-feed.ts'
import type { FleetState } from '../web/model.ts'
import { fleetScreen } from './fleet-screen.ts'

async function stateOf(control: StandInControl): Promise<FleetState> {
  const stop = new AbortController()
  const feed = new FleetFeed('hospital', {
    client: control.client,
    clock: systemClock,
    signal: stop.signal,
    explain: String,
  })
  const state = await new Promise<FleetState>((resolve) => {
    feed.subscribe((seen) => seen.at !== '' && resolve(seen))
  })
  stop.abort()
  return state
}

test('the screen shows runs under way and SuperNodes, those that are not at work first, within its size', async () => {
  const control = new StandInControl({ nodes: 20, rounds: 3, markup: false })
  control.waitingFor = '2 of 18 replies: node-4 works on it since 2026-11-29 08:58:00Z'
  const state = await stateOf(control)
  const screen = (columns: number, rows: number) =>
    `\n${stripVTControlCharacters(fleetScreen(state, { columns, rows }).join('\n'))}\n`
  for (const [columns, rows] of [
    [160, 14],
    [80, 14],
    [60, 12],
  ] as const) {
    const lines = screen(columns, rows).trim().split('\n')
    assert.ok(lines.length < rows, `${lines.length} lines`)
    assert.ok(lines.every((line) => [...line].length <= columns))
  }
  assert.equal(
    screen(160, 14),
    `
hospital  19 of 20 SuperNodes online · 1 run under way, 1 waiting · 2026-11-29 09:00:00Z

Run ID   App                          Status      Since        Waits for
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
7        @hospital/pneumonia==3.0.0   ▲ running   58 min ago   2 of 18 replies: node-4 works on it since 2026-11-29 08:58:00Z

SuperNode   State       Since        Organization   Authentication
──────────────────────────────────────────────────────────────────────────────
node-1      ○ offline   30 min ago   Hospital B     certificate, 1 d 23 h left
node-0      ● online    59 min ago   Hospital A     certificate, 1 d 23 h left
node-10     ● online    59 min ago   Hospital A     certificate, 1 d 23 h left
node-11     ● online    59 min ago   Hospital B     certificate, 1 d 23 h left
… and 16 more
`,
  )
  assert.equal(
    screen(60, 12),
    `
hospital  19 of 20 SuperNodes online · 1 run under way, 1 w…

Run ID   App                          Status      Since
────────────────────────────────────────────────────────────
7        @hospital/pneumonia==3.0.0   ▲ running   58 min ago

SuperNode   State       Since
──────────────────────────────────
node-1      ○ offline   30 min ago
node-0      ● online    59 min ago
… and 18 more
`,
  )
})

test('a long name of an app or a SuperNode is cut: no line is wider than the screen', async () => {
  const state = await stateOf(new StandInControl({ nodes: 3, rounds: 1, markup: false }))
  const long = 'n'.repeat(200)
  const named = {
    ...state,
    runs: state.runs.map((run) => ({ ...run, app: long })),
    nodes: state.nodes.map((node) => ({ ...node, name: long })),
  }
  for (const columns of [160, 80, 40, 20]) {
    const lines = fleetScreen(named, { columns, rows: 24 }).map(stripVTControlCharacters)
    assert.ok(lines.some((line) => line.startsWith('nnn')))
    for (const line of lines) assert.ok([...line].length <= columns, line)
  }
})

test('before the first look, and while the SuperLink does not respond, the screen says so', () => {
  const none = {
    superlink: 'hospital',
    readOnly: false,
    at: '',
    problem: undefined,
    nodes: [],
    runs: [],
    security: undefined,
    moreRuns: false,
  }
  const size = { columns: 80, rows: 24 }
  assert.deepEqual(fleetScreen(none, size).map(stripVTControlCharacters), ['hospital  connecting'])
  const problem = { sentence: 'It cannot be reached.', since: '2026-11-29T09:00:00.000Z' }
  assert.deepEqual(fleetScreen({ ...none, problem }, size).map(stripVTControlCharacters), [
    'hospital  connecting',
    'Not connected since 2026-11-29T09:00:00.000Z: It cannot be reached.',
  ])
})
