import type { MessageTransport } from '../fleet/simulated-fleet.ts'
import type { MachineLimits } from '../machine-limits.ts'
import { type Spread, type Spreads, spreadOf, spreadText } from '../spread.ts'
import type { ScaleFigures } from './measure.ts'

/** What is shown of a fleet, what is aimed at, and the least that this machine needs for it. */
export interface ScaleRow {
  readonly title: string
  readonly digits: number
  readonly value: (figures: Spreads<ScaleFigures>) => Spread
  /** By number of nodes; a smaller fleet has the target of the next larger one. */
  readonly targets?: Readonly<Record<number, number>>
  /** With the calls of Flower's SuperNodes, if they differ. */
  readonly targetsInParts?: Readonly<Record<number, number>>
  readonly limit?: (figures: Spreads<ScaleFigures>, machine: Spreads<MachineLimits>) => Limit
}

export interface Limit {
  readonly kind: 'CPU' | 'fsync' | 'memory' | 'wire'
  /** What is counted. */
  readonly of: string
  readonly least: number
}

const cores = 2
const heartbeatSeconds = 30
const heldSeconds = 25

/** Calls of nodes that wait: heartbeats, and held calls that begin anew. */
const idleCallsPerSecond = (nodes: number): number => nodes / heartbeatSeconds + nodes / heldSeconds

export const scaleRows: readonly ScaleRow[] = [
  {
    title: 's until all are online',
    digits: 1,
    value: ({ secondsUntilOnline }) => secondsUntilOnline,
    targets: { 100: 1, 1000: 3, 10000: 30 },
    limit: ({ nodes }, { handshakeBothMs, callBothMs }) => ({
      kind: 'CPU',
      of: 'handshakes and two calls, of server and clients on two cores',
      least: (nodes.median * (handshakeBothMs.median + 2 * callBothMs.median)) / 1000 / cores,
    }),
  },
  { title: 'joins that were tried again', digits: 0, value: ({ joinsRepeated }) => joinsRepeated },
  {
    title: 'idle: % of a core',
    digits: 2,
    value: ({ idleCpuPercent }) => idleCpuPercent,
    targets: { 100: 0.5, 1000: 2, 10000: 15 },
    limit: ({ nodes }, { callMs }) => ({
      kind: 'CPU',
      of: 'heartbeats and held calls',
      least: (idleCallsPerSecond(nodes.median) * callMs.median) / 10,
    }),
  },
  {
    title: 'idle: MB resident',
    digits: 0,
    value: ({ idleMegabytes }) => idleMegabytes,
    targets: { 100: 150, 1000: 220, 10000: 1000 },
    limit: ({ nodes }, { emptyMegabytes, connectionMegabytes }) => ({
      kind: 'memory',
      of: 'connections with TLS and HTTP/2',
      least: emptyMegabytes.median + nodes.median * connectionMegabytes.median,
    }),
  },
  { title: 'ms from message to node, p50', digits: 0, value: ({ latencyMs }) => latencyMs.p50 },
  {
    title: 'ms from message to node, p99',
    digits: 0,
    value: ({ latencyMs }) => latencyMs.p99,
    targets: { 100: 50, 1000: 150, 10000: 1500 },
    limit: ({ nodes }, { callMs, syncMs }) => ({
      kind: 'CPU',
      of: 'one response for each node, and one fsync',
      least: nodes.median * callMs.median + syncMs.median,
    }),
  },
  { title: 's of a round, first', digits: 2, value: ({ roundSeconds }) => roundSeconds.first },
  {
    title: 's of a round, median',
    digits: 2,
    value: ({ roundSeconds }) => roundSeconds.median,
    targets: { 100: 0.15, 1000: 1, 10000: 10 },
    targetsInParts: { 100: 0.4, 1000: 3, 10000: 30 },
    limit: ({ nodes, callsPerNodeAndRound, commitsPerNodeAndRound }, { callMs, syncMs }) => {
      const calls = (nodes.median * callsPerNodeAndRound.median * callMs.median) / 1000
      const syncs = (nodes.median * (commitsPerNodeAndRound.median || 0) * syncMs.median) / 1000
      return calls >= syncs
        ? { kind: 'CPU', of: 'calls, at one thread of the server', least: calls }
        : { kind: 'fsync', of: 'commits, one after the other', least: syncs }
    },
  },
  {
    title: 'CPU ms of the SuperLink, per node and round',
    digits: 2,
    value: ({ cpuMsPerNodeAndRound }) => cpuMsPerNodeAndRound,
    limit: ({ callsPerNodeAndRound }, { callMs }) => ({
      kind: 'CPU',
      of: 'calls',
      least: callsPerNodeAndRound.median * callMs.median,
    }),
  },
  { title: 'busy in a round: SuperLink, cores', digits: 2, value: ({ busy }) => busy.superlink },
  { title: 'busy in a round: ServerApp, cores', digits: 2, value: ({ busy }) => busy.apps },
  { title: 'busy in a round: load generator, cores', digits: 2, value: ({ busy }) => busy.generator },
  { title: 'calls per node and round', digits: 1, value: ({ callsPerNodeAndRound }) => callsPerNodeAndRound },
  {
    title: 'SQL statements per node and round',
    digits: 1,
    value: ({ statementsPerNodeAndRound }) => statementsPerNodeAndRound,
  },
  { title: 'commits per node and round', digits: 2, value: ({ commitsPerNodeAndRound }) => commitsPerNodeAndRound },
  { title: 'calls lost', digits: 0, value: ({ lost }) => lost, targets: { 100: 0, 1000: 0, 10000: 0 } },
  {
    title: 'MB at rest, after the first round',
    digits: 0,
    value: ({ megabytesAfterRound }) => megabytesAfterRound.first,
  },
  {
    title: 'MB at rest, after the last round',
    digits: 0,
    value: ({ megabytesAfterRound }) => megabytesAfterRound.last,
  },
  {
    title: 'MB more after the last round than after the first',
    digits: 0,
    value: ({ megabytesAfterRound: { first, last } }) => ({
      median: last.median - first.median,
      min: last.min - first.max,
      max: last.max - first.min,
    }),
    targets: { 100: 0, 1000: 0, 10000: 0 },
  },
  // Figures that were kept before the peak was measured have none.
  { title: 'MB at most', digits: 0, value: ({ peakMegabytes = spreadOf([]) }) => peakMegabytes },
  { title: 'MB of the ServerApp and its launcher', digits: 0, value: ({ appMegabytes }) => appMegabytes },
  {
    title: 'ms event loop delay, p99',
    digits: 0,
    value: ({ eventLoopDelayMs }) => eventLoopDelayMs.p99,
    targets: { 100: 100, 1000: 100, 10000: 100 },
  },
  { title: 'ms event loop delay, longest', digits: 0, value: ({ eventLoopDelayMs }) => eventLoopDelayMs.max },
]

/** The target for so many nodes. */
export function targetOf(row: ScaleRow, nodes: number, messages: MessageTransport): number | undefined {
  const targets = (messages === 'in-parts' ? row.targetsInParts : undefined) ?? row.targets ?? {}
  const size = Object.keys(targets)
    .map(Number)
    .toSorted((one, other) => one - other)
    .find((size) => nodes <= size)
  return size === undefined ? undefined : targets[size]
}

/** A table with one column for each fleet. */
export function scaleTable(
  columns: readonly { readonly title: string; readonly figures: Spreads<ScaleFigures> }[],
): string[][] {
  return [
    ['', ...columns.map(({ title }) => title)],
    ...scaleRows.map((row) => [row.title, ...columns.map(({ figures }) => spreadText(row.value(figures), row.digits))]),
  ]
}
