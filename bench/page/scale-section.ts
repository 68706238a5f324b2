import type { MessageTransport } from '../fleet/simulated-fleet.ts'
import { machineText } from '../machine.ts'
import { columnsOf, type ScaleReport } from '../scale/main.ts'
import type { ScaleFigures } from '../scale/measure.ts'
import { type ScaleRow, scaleRows, scaleTable, targetOf } from '../scale/rows.ts'
import type { Spread, Spreads } from '../spread.ts'
import { spreadText } from '../spread.ts'
import { markdownTable } from './markdown.ts'
import { missedRows } from './missed-rows.ts'
import type { Plot, PlotLine } from './plot.ts'

export function scaleSection(report: ScaleReport): string[] {
  const { machine, repeats, limits, trellis, inParts } = report
  const largest = [...trellis, ...inParts].reduce((most, { nodes }) => Math.max(most, nodes.median), 0)
  const columns = columnsOf(report)
  const failures = columns.filter(({ figures }) => figures.failure)
  return [
    '## Fleets of SuperNodes',
    `What a fleet of simulated SuperNodes costs a SuperLink, up to ${largest} nodes. \`npm run bench -- scale --page\` measures it again and writes this page; \`--quick\` leaves out the largest fleet, and its fleets stop after 200 s; \`--minutes 15\` begins no fleet after that time.`,
    `**Machine:** ${machineText(machine)}. The SuperLink, its ServerApp and the load generator share it, so seconds depend on it; compare rows and ratios. Figures are medians of ${repeats}${repeats > 1 ? ', with the smallest and the largest in brackets (where there are none: one measurement)' : ''}.`,
    `**Fleet:** each node has its own certificate, TLS connection and heartbeat every 30 s, holds \`PullMessages\`, and replies with one float32 array of 4 KB and \`num-examples\`. Ours receive an instruction in one call and send the reply in another, and their pulls are heartbeats; where a column says "Flower's calls", they move each object by a call of its own and confirm, as Flower's SuperNodes do. The ServerApp is FedAvg over all nodes. The SuperLink requires client certificates and keeps its state in a database file. Flower 1.29 runs the same load in Python, with TLS and registered keys; its SuperNodes ask every 3 s, as they do.`,
    '**Memory** is what is resident, files of programs and of the database included. It is read after the fleet was idle, and 20 s after the first and the last round: a SuperLink gives memory back when it has been at rest for 5 s. "MB at most" is the peak.',
    '### Cost against the number of nodes',
    Object.entries(scalePlots(report))
      .map(([name, { title }]) => `![${title}](benchmarks/${name}.svg)`)
      .join('\n\n'),
    markdownTable(scaleTable(columns)),
    ...failures.map(
      ({ title, figures }) => `*${title}: the measurement ended early.* ${figures.failure?.split('\n')[0]}`,
    ),
    '### Targets and limits',
    `The limit of a row is what this machine needs at least for it, measured in the same run with a bare server of Node: ${bareText(limits)}. The last column says how many times as much we need.`,
    ...trellis.map((figures) => limitSection(figures, 'whole', report)),
    ...inParts.map((figures) => limitSection(figures, 'in-parts', report)),
    ...missedRows(report),
  ]
}

function bareText(limits: ScaleReport['limits']): string {
  const { handshakeMs, handshakeBothMs, callMs, connectionMegabytes, syncMs } = limits
  return [
    `${handshakeMs.median.toFixed(2)} ms of CPU for a handshake (${handshakeBothMs.median.toFixed(2)} with the client)`,
    `${(callMs.median * 1000).toFixed(0)} µs for a call`,
    `${(connectionMegabytes.median * 1000).toFixed(0)} KB for a connection`,
    `${syncMs.median.toFixed(2)} ms for an fsync`,
  ].join(', ')
}

function limitSection(figures: Spreads<ScaleFigures>, messages: MessageTransport, { limits }: ScaleReport): string {
  const nodes = figures.nodes.median
  const rows = scaleRows.flatMap((row) => {
    const target = targetOf(row, nodes, messages)
    const limit = row.limit?.(figures, limits)
    if (target === undefined && !limit) return []
    const value = row.value(figures)
    const isMet =
      target === undefined || !Number.isFinite(value.median) ? '' : value.median <= target ? 'met' : 'missed'
    return [
      [
        row.title,
        spreadText(value, row.digits),
        target === undefined ? '' : `${target}`,
        isMet,
        limit ? `${limit.kind}: ${limit.of}` : '',
        limit && Number.isFinite(limit.least) ? limit.least.toFixed(row.digits + 1) : '',
        limit ? timesText(value.median / limit.least) : '',
      ],
    ]
  })
  const head = ['', 'measured', 'target', '', 'limit', 'least', 'times the least']
  const calls = messages === 'whole' ? '' : ", Flower's calls"
  return `#### ${nodes} SuperNodes${calls}\n\n${markdownTable([head, ...rows])}`
}

function timesText(times: number): string {
  return Number.isFinite(times) ? times.toFixed(1) : ''
}

export function scalePlots({ trellis, inParts, python }: ScaleReport): Readonly<Record<string, Plot>> {
  const rowOf = (title: string): ScaleRow => {
    const row = scaleRows.find((row) => row.title === title)
    if (!row) throw new Error(`There is no row '${title}'`)
    return row
  }
  const plot = (title: string, unit: string, rowTitle: string): Plot => {
    const row = rowOf(rowTitle)
    const points = (all: readonly Spreads<ScaleFigures>[], y: (figures: Spreads<ScaleFigures>) => Spread) =>
      all.map((figures) => [figures.nodes.median, y(figures).median] as const)
    const targets = Object.entries(row.targets ?? {}).map(([nodes, target]) => [Number(nodes), target] as const)
    const lines: PlotLine[] = [{ name: 'Trellis', kind: 'measured', points: points(trellis, row.value) }]
    if (targets.length > 0) lines.push({ name: 'target', kind: 'target', points: targets })
    if (inParts.length > 0) lines.push({ name: "Flower's calls", kind: 'other', points: points(inParts, row.value) })
    if (python) lines.push({ name: 'Flower 1.29', kind: 'point', points: points([python], row.value) })
    return { title, unit, lines }
  }
  return {
    round: plot('A round, all nodes', 'seconds', 's of a round, median'),
    wake: plot('From the message to the node, p99', 'milliseconds', 'ms from message to node, p99'),
    online: plot('Until all nodes are online', 'seconds', 's until all are online'),
    memory: plot('Memory of the idle SuperLink', 'MB', 'idle: MB resident'),
    'idle-cpu': plot('CPU of the idle SuperLink', '% of a core', 'idle: % of a core'),
    'round-cpu': plot(
      'CPU of the SuperLink for a node and round',
      'milliseconds',
      'CPU ms of the SuperLink, per node and round',
    ),
  }
}
