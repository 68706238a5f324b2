import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rows as appRows } from '../src/app-runtime/config.ts'
import type { OptionRow } from '../src/base/options.ts'
import { rows as superexecRows } from '../src/superexec/config.ts'
import { rows as superlinkRows } from '../src/superlink/config.ts'
import { rows as supernodeRows } from '../src/supernode/config.ts'

/** Writes `docs/reference/options.md` from the tables that the programs parse by; with `--check` it only compares. */
const path = join(import.meta.dirname, '..', 'docs', 'reference', 'options.md')
const programs = {
  'flower-superlink': superlinkRows,
  'flower-supernode': supernodeRows,
  'flower-superexec': superexecRows,
  'flwr-serverapp, flwr-clientapp': appRows,
}

const text = `${[
  '# Options of the programs',
  'Made from the tables in the code by `npm run gen`. Every program knows `--help` and `--version`. `flwr COMMAND --help` shows those of `flwr`.',
  ...Object.entries(programs).map(([name, rows]) => section(name, rows)),
].join('\n\n')}\n`

if (!process.argv.includes('--check')) writeFileSync(path, text)
else if (readFileSync(path, 'utf8') !== text) {
  process.stderr.write('docs/reference/options.md is not what the tables give: run npm run gen.\n')
  process.exitCode = 1
}

function section(name: string, rows: readonly OptionRow[]): string {
  const shown = rows.filter((row) => !row.hidden && row.refused === undefined)
  const refused = rows.filter((row) => row.refused !== undefined)
  const lines = shown.map((row) => {
    const choices = row.choices ? ` (${row.choices.join(', ')})` : ''
    return `| \`${row.flags.replace('|', '\\|')}\` | ${row.default === undefined ? '' : `\`${row.default}\``} | ${row.help}${choices} |`
  })
  const old = refused.map((row) => `- \`${row.flags.split(' ')[0]}\` ${row.refused}`)
  return [
    `## ${name}`,
    ['| option | default | meaning |', '| --- | --- | --- |', ...lines].join('\n'),
    ...(old.length > 0 ? [`Options of Flower that are refused:\n\n${old.join('\n')}`] : []),
  ].join('\n\n')
}
