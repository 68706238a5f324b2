import type { BadDaysReport } from '../bad-days/main.ts'
import { badDaysTable } from '../bad-days/main.ts'
import { type EnginesReport, enginesTable } from '../engines/rows.ts'
import { type Machine, machineText } from '../machine.ts'
import type { ScaleReport } from '../scale/main.ts'
import { type MeasuredTables, tablesOf } from '../tables.ts'
import type { Waterfall } from '../waterfall/main.ts'
import { waterfallTables } from '../waterfall/tables.ts'
import { markdownTable, textBlock } from './markdown.ts'
import { scaleSection } from './scale-section.ts'
import { targetSections } from './targets.ts'

/** What the page is made of; what was not measured is left out. */
export interface PageData {
  readonly scale: ScaleReport | undefined
  readonly waterfall: (Waterfall & { readonly machine: Machine }) | undefined
  readonly 'bad-days': (BadDaysReport & { readonly machine: Machine }) | undefined
  readonly engines: EnginesReport | undefined
  readonly tables: MeasuredTables | undefined
}

export function pageText({ scale, waterfall, 'bad-days': badDays, engines, tables }: PageData): string {
  const waterfallText = waterfall && waterfallTables(waterfall)
  return `${[
    '# Benchmarks',
    'Written by the commands that measure: `npm run bench -- all` takes all figures anew, `npm run bench -- all --quick` those of smaller fleets. Every program runs on the machine that is named, the load included, so seconds depend on it: compare rows and ratios.',
    ...(scale ? scaleSection(scale) : []),
    ...(badDays ? ['## A bad day', badDaysText(badDays), markdownTable(badDaysTable(badDays))] : []),
    ...(waterfall && waterfallText
      ? [
          '## Where the time goes',
          `From \`flwr run\` to the last reply, two SuperNodes (\`npm run bench -- waterfall\`): ${machineText(waterfall.machine)}. The programs are those of the npm package, over mutual TLS. A run has ended five seconds before: its SuperExecs have one app process ready each.`,
          markdownTable(waterfallText.steps),
          'From `flwr run` to the end of round 1. A bar is a call of the program, `|` an event.',
          textBlock(waterfallText.start),
          'The round of median length:',
          textBlock(waterfallText.round),
        ]
      : []),
    ...(engines
      ? [
          '## SQLite, PostgreSQL and S3',
          `The same fleets and the same large model with each engine, in one run (\`npm run bench -- engines\`): ${machineText(engines.machine)}. Of several SuperLinks on one PostgreSQL database one serves and the others stand by, so their capacity is that of one. All servers share this machine.`,
          markdownTable(enginesTable(engines)),
        ]
      : []),
    ...targetSections({ tables, waterfall }),
    ...(tables
      ? [
          '## Beside Flower 1.29',
          `Two SuperNodes, simulations, heartbeats, the mean and TLS (\`npm run bench\`): ${machineText(tables.machine)}. Medians of ${tables.repeats}.`,
          ...tablesOf(tables).map(markdownTable),
        ]
      : []),
  ].join('\n\n')}\n`
}

function badDaysText({ machine }: { readonly machine: Machine }): string {
  return `A tenth of the SuperNodes vanish as they receive a message, one takes no byte of a response, one sends a byte a second, one sends objects of 64 MiB of nonsense, and the SuperLink is killed and started again in the middle of a round (\`npm run bench -- bad-days\`): ${machineText(machine)}.`
}
