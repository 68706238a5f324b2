import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { total } from './fleet/fleet-counts.ts'
import { measureScale, type ScaleFigures } from './scale.ts'
import { printTable } from './table.ts'

/** `npm run bench -- scale [NODES…] [--rounds N] [--idle SECONDS] [--json FILE]`: fleets of so many simulated SuperNodes. */
export async function benchScale(directory: string, bin: string, args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '3' },
      idle: { type: 'string', default: '35' },
      json: { type: 'string' },
      'node-options': { type: 'string', default: '' },
    },
  })
  const sizes = positionals.length > 0 ? positionals.map(Number) : [100, 1000]
  const figures: ScaleFigures[] = []
  for (const nodes of sizes) {
    process.stderr.write(`A fleet of ${nodes} simulated SuperNodes\n`)
    figures.push(
      await measureScale({
        directory: join(directory, `scale-${nodes}`),
        bin,
        nodes,
        rounds: Number(values.rounds),
        settleMs: 2000,
        pauseMs: 1500,
        idleSeconds: Number(values.idle),
        nodeOptions: values['node-options'],
      }),
    )
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`)
  print(figures)
}

function print(figures: readonly ScaleFigures[]): void {
  const row = (what: string, cell: (one: ScaleFigures) => string): string[] => [what, ...figures.map(cell)]
  printTable([
    row('SuperNodes', ({ nodes }) => String(nodes)),
    row('s until all are online', (one) => one.secondsUntilOnline.toFixed(1)),
    row('joins that were tried again', (one) => String(one.joinsRepeated)),
    row('idle: % of a core', (one) => one.idleCpuPercent.toFixed(2)),
    row('idle: MB resident', (one) => one.idleMegabytes.toFixed(0)),
    row('ms from message to node, p50', ({ latencyMs }) => latencyMs.p50.toFixed(0)),
    row('ms from message to node, p99', ({ latencyMs }) => latencyMs.p99.toFixed(0)),
    row('s of a round, first', ({ roundSeconds }) => roundSeconds.first.toFixed(2)),
    row('s of a round, median', ({ roundSeconds }) => roundSeconds.median.toFixed(2)),
    row('CPU ms of the SuperLink, per node and round', (one) => one.cpuMsPerNodeAndRound.toFixed(2)),
    row('calls per node and round', (one) => one.callsPerNodeAndRound.toFixed(1)),
    row('SQL statements per node and round', ({ statements }) => total(statements).toFixed(1)),
    row('commits per node and round', ({ statements }) => (statements.COMMIT ?? 0).toFixed(2)),
    row('calls lost', (one) => String(total(one.lostCalls))),
    row('MB after the first round', ({ megabytesAfterRound }) => megabytesAfterRound.first.toFixed(0)),
    row('MB after the last round', ({ megabytesAfterRound }) => megabytesAfterRound.last.toFixed(0)),
    row('ms event loop delay, p99', ({ eventLoopDelayMs }) => eventLoopDelayMs.p99.toFixed(0)),
    row('ms event loop delay, longest', ({ eventLoopDelayMs }) => eventLoopDelayMs.max.toFixed(0)),
  ])
}
