import type { HeartbeatFigures, HeartbeatRate } from './heartbeats/measure.ts'
import type { LargeFigures } from './large.ts'
import type { Machine } from './machine.ts'
import { gigabytesPerSecond, type MeanFigures, type MeansOfShape } from './mean.ts'
import type { FleetFigures } from './python-fleets.ts'
import type { SecureFigures } from './secagg.ts'
import type { SimulationCost, SimulationFigures } from './simulation.ts'
import { type Spread, type Spreads, spreadText } from './spread.ts'
import type { StartFigures } from './start.ts'
import type { ModeFigures, TlsFigures } from './tls.ts'
import type { TrainingFigures } from './training.ts'

/** The tables of `npm run bench` as rows of cells: medians with their spread, and ratios of medians. */
export type Rows = readonly (readonly string[])[]

/** What `npm run bench` measured; a table that failed is absent. */
export interface MeasuredTables {
  readonly machine: Machine
  readonly repeats: number
  readonly training?: Spreads<{ ours: TrainingFigures; theirs: TrainingFigures | undefined }>
  readonly large?: Spreads<readonly { ours: LargeFigures; theirs: LargeFigures | undefined }[]>
  readonly mean?: Spreads<MeanFigures>
  readonly simulation?: Spreads<readonly SimulationFigures[]>
  readonly start?: Spreads<StartFigures>
  readonly heartbeats?: Spreads<readonly HeartbeatFigures[]>
  readonly secagg?: Spreads<readonly SecureFigures[]>
  readonly tls?: Spreads<TlsFigures>
  readonly 'python-fleets'?: Spreads<readonly FleetFigures[]>
}

export function tablesOf(measured: Omit<MeasuredTables, 'machine' | 'repeats'>): Rows[] {
  return [
    ...(measured.training ? trainingTables(measured.training) : []),
    ...(measured.large ? largeTables(measured.large) : []),
    ...(measured.mean ? meansTables(measured.mean) : []),
    ...(measured.simulation ? simulationsTables(measured.simulation) : []),
    ...(measured.start ? startTables(measured.start) : []),
    ...(measured.heartbeats ? heartbeatsTables(measured.heartbeats) : []),
    ...(measured.secagg ? secureAggregationTables(measured.secagg) : []),
    ...(measured.tls ? tlsTables(measured.tls) : []),
    ...(measured['python-fleets'] ? fleetsTables(measured['python-fleets']) : []),
  ]
}

type Better = 'less' | 'more'

function ratioText(ours: Spread, theirs: Spread | undefined, better: Better): string {
  if (!theirs) return ''
  const ratio = better === 'less' ? theirs.median / ours.median : ours.median / theirs.median
  return `${ratio.toFixed(ratio < 10 ? 2 : 1)} times ${better === 'less' ? 'less' : 'as many'}`
}

function trainingTables({
  ours,
  theirs,
}: Spreads<{ ours: TrainingFigures; theirs: TrainingFigures | undefined }>): Rows[] {
  const row = (what: string, key: keyof TrainingFigures, digits: number, better: Better): string[] => [
    what,
    spreadText(ours[key], digits),
    theirs ? spreadText(theirs[key], digits) : 'no Python',
    ratioText(ours[key], theirs?.[key], better),
  ]
  return [
    [
      ['', 'Trellis (mutual TLS)', 'Flower 1.29 (TLS, keys)', 'ratio'],
      row('s a round, 2 nodes, 4 KB model, beyond the app', 'secondsPerSmallRound', 3, 'less'),
      row('s for 2 rounds, 2 nodes, 100 MB model', 'secondsForLargeRun', 2, 'less'),
      row('MB resident, idle SuperLink', 'idleMegabytes', 0, 'less'),
    ],
  ]
}

function largeTables(figures: Spreads<readonly { ours: LargeFigures; theirs: LargeFigures | undefined }[]>): Rows[] {
  return figures.map(({ ours, theirs }) => {
    const { megabytes, nodes, rounds } = ours
    // In each round a model goes to each node and back.
    const moved = (2 * megabytes.median * nodes.median * rounds.median) / 1000
    const rateText = ({ seconds }: Spreads<LargeFigures>): string => (moved / seconds.median).toFixed(2)
    const row = (what: string, key: 'superlink' | 'supernode' | 'serverApp' | 'clientApp'): string[] => {
      const of = (peak: Spread | undefined): string => (peak ? peakText(peak, megabytes.median) : '')
      return [what, of(ours[key]), of(theirs?.[key])]
    }
    return [
      [
        `a model of ${megabytes.median} MB, ${nodes.median} nodes, ${rounds.median} rounds`,
        'Trellis (mutual TLS)',
        theirs ? 'Flower 1.29 (TLS, keys)' : '',
      ],
      ['s', spreadText(ours.seconds, 2), theirs ? spreadText(theirs.seconds, 2) : ''],
      ['GB of models a second', rateText(ours), theirs ? rateText(theirs) : ''],
      ['CPU s of all programs', spreadText(ours.cpuSeconds, 1), theirs ? spreadText(theirs.cpuSeconds, 1) : ''],
      row('peak memory of the SuperLink', 'superlink'),
      row('of a SuperNode', 'supernode'),
      row('of the ServerApp', 'serverApp'),
      row('of a ClientApp', 'clientApp'),
    ]
  })
}

function peakText(peak: Spread, modelMegabytes: number): string {
  return `${spreadText(peak, 0)} MB, ${(peak.median / modelMegabytes).toFixed(2)} models`
}

function simulationsTables(figures: Spreads<readonly SimulationFigures[]>): Rows[] {
  return figures.flatMap(({ rounds, ours, oursWithPythonApp, theirs }) =>
    simulationUnits.map(([key, unit]) => {
      const row = (what: string, { [key]: cost }: Spreads<SimulationCost>): string[] => [
        what,
        spreadText(cost, 2),
        theirs ? spreadText(theirs[key], 2) : 'no Ray',
        ratioText(cost, theirs?.[key], 'less'),
      ]
      const title = `${unit} for flwr run, simulated: 10 virtual nodes, ${rounds.median} rounds`
      return [
        [title, 'Trellis', 'Flower 1.29 (Ray)', 'ratio'],
        row('a TypeScript app, beside the same in Python', ours),
        ...(oursWithPythonApp ? [row('the Python app of Flower on our programs', oursWithPythonApp)] : []),
      ]
    }),
  )
}

const simulationUnits = [
  ['seconds', 's'],
  ['cpuSeconds', 'CPU s'],
] as const satisfies readonly (readonly [keyof SimulationCost, string])[]

function meansTables({ oneArray, manyArrays, copies }: Spreads<MeanFigures>): Rows[] {
  const row = (what: string, seconds: Spread | undefined, ours: Spread): string[] => [
    what,
    seconds ? gigabytesPerSecond(seconds.median).toFixed(2) : 'no Python',
    seconds ? `${(seconds.median / ours.median).toFixed(2)} times the time` : '',
  ]
  const shape = (name: string, { ours, flower, numpy }: Spreads<MeansOfShape>): string[][] => [
    row(`Trellis, ${name}`, ours, ours),
    row(`Flower 1.29, ${name}`, flower, ours),
    row(`numpy, its arithmetic alone, ${name}`, numpy, ours),
  ]
  return [
    [
      ['weighted mean of 4 models of 100 MB of float32', 'GB a second', ''],
      ...shape('one array', oneArray),
      ...shape('20 arrays', manyArrays),
      row('copying the models', copies, oneArray.ours),
    ],
  ]
}

function startTables({ ours, megabytes, modules, theirs }: Spreads<StartFigures>): Rows[] {
  const cpu = ['CPU ms', spreadText(ours.cpuMs, 0), theirs ? spreadText(theirs.cpuMs, 0) : 'no Python']
  return [
    [
      ['flwr --version', 'Trellis', 'Flower 1.29', 'ratio'],
      [...cpu, ratioText(ours.cpuMs, theirs?.cpuMs, 'less')],
      ['MB resident, at most', spreadText(megabytes, 0), '', ''],
      ['modules that are not of Node', spreadText(modules, 0), '', ''],
    ],
  ]
}

function heartbeatsTables(figures: Spreads<readonly HeartbeatFigures[]>): Rows[] {
  return figures.map(({ connections, callsAtOnce, ours, bare, theirs }) => {
    const row = (what: string, key: keyof HeartbeatRate): string[] => [
      what,
      ...[ours, bare, theirs].map((rate) => (rate ? spreadText(rate[key], 0) : '')),
    ]
    const many = connections.median === 1 ? '1 connection' : `${connections.median} connections`
    const each = connections.median === 1 ? '' : ' each'
    return [
      [
        `heartbeats, ${many}, ${callsAtOnce.median} under way${each}`,
        'Trellis (mutual TLS, SQLite file)',
        'a bare server of Node',
        theirs ? 'Flower 1.29 (TLS, keys)' : '',
      ],
      row('heartbeats a second', 'perSecond'),
      row('µs of CPU of the server for each', 'serverMicroseconds'),
      row('of the load generator', 'loadMicroseconds'),
    ]
  })
}

function secureAggregationTables(figures: Spreads<readonly SecureFigures[]>): Rows[] {
  return [
    [
      ['one round, a model of 1 MB', 'ms of a node', 'ms of the server', 'KB to a node', 'KB from a node'],
      ...figures.map(({ what, nodeMs, serverMs, bytesToNode, bytesFromNode }) => [
        what,
        ...[spreadText(nodeMs, 0), spreadText(serverMs, 0)],
        ...[bytesToNode, bytesFromNode].map(({ median }) => (median / 1000).toFixed(1)),
      ]),
    ],
  ]
}

function fleetsTables(figures: Spreads<readonly FleetFigures[]>): Rows[] {
  const cell = (seconds: Spread, theirs: Spread): string =>
    `${spreadText(seconds, 1)}, ${ratioText(seconds, theirs, 'less')}`
  return [
    [
      ['s for 2 rounds of a Python app, 2 nodes', 'all Flower', "Flower's SuperNodes at our SuperLink", 'all ours'],
      ...figures.map(({ release, theirs, atOurs, ours }) => [
        `Flower ${release}`,
        spreadText(theirs, 1),
        cell(atOurs, theirs),
        cell(ours, theirs),
      ]),
    ],
  ]
}

function tlsTables({ crl, certificates, keys, reload }: Spreads<TlsFigures>): Rows[] {
  const row = (what: string, figure: keyof ModeFigures, digits: number, better: Better): string[] => [
    what,
    spreadText(certificates[figure], digits),
    spreadText(keys[figure], digits),
    ratioText(certificates[figure], keys[figure], better),
  ]
  return [
    [
      ['our SuperLink', 'mutual TLS', 'registered keys', 'ratio'],
      row('handshakes a second, peer judged', 'handshakesPerSecond', 0, 'more'),
      row('small Fleet calls a second', 'callsPerSecond', 0, 'more'),
      row('s until 1,000 nodes that come back at once are online', 'stormSeconds', 1, 'less'),
    ],
    [
      [`revocation list of ${crl.entries.median} entries`, ''],
      ['ms to load', spreadText(crl.loadMs, 0)],
      ['microseconds a lookup', spreadText(crl.lookupMicroseconds, 2)],
      ['slowest call while it is loaded anew, 1,000 connections, ms', spreadText(reload.crlStallMs, 0)],
      ['the same while a policy is loaded anew', spreadText(reload.policyStallMs, 0)],
      ['the same while nothing happens', spreadText(reload.calmMs, 0)],
    ],
  ]
}
