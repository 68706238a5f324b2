import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { thisMachine } from '../machine.ts'
import { keepForPage } from '../page/main.ts'
import { trellisSystem } from '../scale/system.ts'
import { spreadOf, spreadText } from '../spread.ts'
import { printTable } from '../table.ts'
import type { Rows } from '../tables.ts'
import { type BadDaysFigures, measureBadDays } from './measure.ts'

/**
 * `npm run bench -- bad-days [NODES] [--only TROUBLE,…] [--rounds N] [--json FILE] [--page]`: a fleet of 1,000 SuperNodes while
 * everything goes wrong, or only what is named: never-reads, slow, nonsense, vanishing, restart, or none of them.
 */
export async function benchBadDays(directory: string, bin: string, args: readonly string[]): Promise<void> {
  const options = {
    json: { type: 'string' },
    page: { type: 'boolean' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
  } as const
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options })
  const nodes = Number(positionals[0] ?? 1000)
  const rounds = Number(values.rounds)
  const figures = await measureBadDays({
    ...{ directory: join(directory, 'bad-days'), system: trellisSystem(bin), nodes },
    ...{
      vanishing: Math.floor(nodes / 10),
      calmRounds: rounds,
      stormyRounds: rounds,
      roundSeconds: 180,
      pauseMs: 2000,
    },
    ...(values.only === undefined ? {} : { troubles: values.only.split(',') }),
  })
  if (values.json) writeFileSync(values.json, `${JSON.stringify(figures, null, 1)}\n`)
  if (values.page) await keepForPage('bad-days', { machine: thisMachine(), nodes, figures })
  printTable(badDaysTable({ nodes, figures }))
}

export interface BadDaysReport {
  readonly nodes: number
  readonly figures: BadDaysFigures
}

export function badDaysTable({ nodes, figures }: BadDaysReport): Rows {
  const [calm, stormy] = [spreadOf(figures.calmMsPerReply), spreadOf(figures.stormyMsPerReply)]
  const slower = (stormy.median / calm.median - 1) * 100
  return [
    [`${nodes} SuperNodes on a bad day`, 'measured', 'target'],
    ['ms of a round for each reply, calm', spreadText(calm, 2), ''],
    ['the same with troublemakers', spreadText(stormy, 2), ''],
    ['slower by', `${slower.toFixed(0)} %`, '10 %'],
    ...costRows(figures),
    ...(figures.restartMs === 0
      ? []
      : [
          ['s of the round in which the SuperLink was killed', (figures.restartMs / 1000).toFixed(1), ''],
          ['SuperNodes that came back', `${figures.rejoined} of ${figures.steady}`, 'all'],
        ]),
    ['replies missing', String(figures.repliesMissing), '0'],
    ['nonsense of 64 MiB', [...new Set(figures.refusals)].join(', '), 'refused'],
    ['bodies of a byte a second that were ended', String(figures.slowBodiesEnded), ''],
    ['end of flwr run', String(figures.status), '0'],
  ]
}

function costRows(figures: BadDaysFigures): Rows {
  const { calmCpuMsPerReply: calmCpu, stormyCpuMsPerReply: stormyCpu } = figures
  const { calmStatementsPerReply: calmStatements, stormyStatementsPerReply: stormyStatements } = figures
  return [
    ...pairOf('CPU ms of the SuperLink for each reply', calmCpu, stormyCpu, 2),
    ...pairOf('SQL statements for each reply', calmStatements, stormyStatements, 1),
  ]
}

function pairOf(what: string, calm: number | undefined, stormy: number | undefined, digits: number): Rows {
  if (calm === undefined || stormy === undefined) return []
  return [
    [`${what}, calm`, calm.toFixed(digits), ''],
    ['the same with troublemakers', stormy.toFixed(digits), ''],
  ]
}
