import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { rows as appRows } from '../src/app-runtime/config.ts'
import { refusalRow } from '../src/base/error-catalog.ts'
import type { OptionRow } from '../src/base/options.ts'
import { wireStatuses } from '../src/base/wire-status.ts'
import { createProgram } from '../src/cli/main.ts'
import { refusalReasons } from '../src/identity/caller.ts'
import { refusalSentence } from '../src/identity/refusal-sentence.ts'
import { callFailures } from '../src/rpc/call-failures.ts'
import { rows as superexecRows } from '../src/superexec/config.ts'
import { eventSchema } from '../src/superlink/events/event-catalog.ts'
import { migrateRows } from '../src/superlink/maintenance/migrate.ts'
import { backupRows, checkRows, moveRows } from '../src/superlink/maintenance/stored-state.ts'
import { rows as superlinkRows } from '../src/superlink/options.ts'
import { rows as supernodeRows } from '../src/supernode/config.ts'
import { listPrograms } from './command-tree.ts'
import { completions } from './completions.ts'
import { eventPage } from './event-page.ts'
import { manPage } from './man-pages.ts'
import { programEnds } from './program-ends.ts'
import { strategyPage } from './strategy-page.ts'

/**
 * Writes the reference pages, the schema of events, man pages and completions from what the programs parse by; with `--check` it only compares.
 */
const programs = {
  'flower-superlink': superlinkRows,
  'flower-superlink check': checkRows,
  'flower-superlink backup': backupRows,
  'flower-superlink migrate': migrateRows,
  'flower-superlink move-objects': moveRows,
  'flower-supernode': supernodeRows,
  'flower-superexec': superexecRows,
  'flwr-serverapp, flwr-clientapp': appRows,
}

const flwr = await createProgram({ signal: new AbortController().signal, status: 0 })
const pages = {
  'options.md': [
    '# Options of the programs',
    'Made from the tables in the code by `npm run gen`. Every program knows `--help` and `--version`. The commands of `flwr` are on [their own page](flwr.md).',
    ...Object.entries(programs).map(([name, rows]) => programSection(name, rows)),
  ],
  'flwr.md': [
    '# The commands of flwr',
    'Made from the commands in the code by `npm run gen`. Every command knows `--help`.',
    ...flwr.commands.flatMap((command) => commandSections(command, 'flwr')),
  ],
  'failures.md': [
    '# Which failures end a program, and which it waits out',
    'Made from the table in `src/rpc/call-failures.ts` by `npm run gen`. SuperNodes, SuperExecs and app processes use this table to decide whether they try again. While a program waits, its log has a line at the first failure, at each new reason, every 30 seconds for each reason, and at the end of the wait.',
    'The pauses between tries are random and at most 1, 2, 4 … 20 seconds long. If the address refuses connections or its name is unknown, they are at most one second long (two seconds for SuperNodes). If the server says how long to wait (`trellis-retry-after-ms` over gRPC and HTTP, `Retry-After` in seconds over HTTP), the pause is between that time and one and a half times that time. `--max-retries` and `--max-wait-time` of the SuperNode bound its tries; an app process gives up after 30 minutes.',
    table(
      ['failure', 'what the program sees', 'does waiting help?'],
      Object.entries(callFailures).map(([failure, { seen, waiting }]) => [code(failure), seen, waiting]),
    ),
    '- *helps*: the program waits and tries again.\n- *a few times*: it tries five times, then ends.\n- *if it worked before*: at its start the program ends, because its configuration may be wrong. Once the server has responded to a call, it waits: the operator of the server can undo the change.\n- *no*: it ends with exit status 1 and the sentence of the error.',
    'A SuperNode that the SuperLink has forgotten joins again instead of ending. One that counts as online already tries for a minute.',
    '## Without a server',
    table(
      ['what happens', 'program', 'exit status'],
      programEnds.map(({ what, program, end }) => [what, program, end]),
    ),
  ],
  'events.md': eventPage(table),
  'strategies.md': strategyPage(table),
  'refusals.md': [
    '# Why a peer is rejected',
    'Made from the code by `npm run gen`. The code is sent to the peer as `trellis-refusal-reason`, over gRPC and HTTP. It is also the label `reason` of `trellis_peer_refusals_total` and the field `reason` of the [audit log](audit-log.md). The sentence is sent to the peer and written to the log of the SuperLink, with a name in the place of …. The order is the order of the checks.',
    table(
      ['code', 'gRPC', 'HTTP', 'sentence'],
      refusalReasons.map((reason) => {
        const { status } = refusalRow(reason)
        const { grpc, http } = wireStatuses[status]
        return [code(reason), `${grpc} ${status}`, String(http), refusalSentence(reason, '…')]
      }),
    ),
  ],
}

const all = await listPrograms()
const files: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(pages).map(([name, parts]) => [`docs/reference/${name}`, `${parts.join('\n\n')}\n`]),
  ),
  'docs/reference/events.schema.json': `${JSON.stringify(eventSchema(), undefined, 2)}\n`,
  ...Object.fromEntries(all.map((program) => [`share/man/man1/${program.path}.1`, manPage(program, all)])),
  ...Object.fromEntries(Object.entries(completions(all)).map(([name, text]) => [`share/completions/${name}`, text])),
}
const root = join(import.meta.dirname, '..')
for (const [name, text] of Object.entries(files)) {
  const path = join(root, name)
  if (!process.argv.includes('--check')) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    process.stderr.write(`${name} is not what the programs know: run npm run gen.\n`)
    process.exitCode = 1
  }
}

function programSection(name: string, rows: readonly OptionRow[]): string {
  const shown = rows.filter((row) => !row.hidden && row.refused === undefined)
  const refused = rows.filter((row) => row.refused !== undefined)
  const lines = shown.map(({ flags, help, choices, default: value }) => [
    code(flags),
    value === undefined ? '' : code(value),
    choices ? `${help} (${choices.join(', ')})` : help,
  ])
  const old = refused.map((row) => `- \`${row.flags.split(' ')[0]}\` ${row.refused}`)
  return [
    `## ${name}`,
    table(['option', 'default', 'meaning'], lines),
    ...(old.length > 0 ? [`Options of Flower that are refused:\n\n${old.join('\n')}`] : []),
  ].join('\n\n')
}

/** A command that does something, or those that it holds. */
function commandSections(command: Command, above: string): string[] {
  const name = `${above} ${command.name()}`
  if (command.commands.length > 0) return command.commands.flatMap((sub) => commandSections(sub, name))
  const values = [
    ...command.registeredArguments.map((argument) => [
      code(argument.required ? `<${argument.name()}>` : `[${argument.name()}]`),
      argument.defaultValue === undefined ? '' : code(String(argument.defaultValue)),
      argument.description,
    ]),
    ...command.options
      .filter((option) => !option.hidden)
      .map((option) => [
        code(option.flags),
        option.defaultValue === undefined || isEmpty(option.defaultValue) ? '' : code(String(option.defaultValue)),
        option.description,
      ]),
  ]
  const alias = command.alias() ? ` Also \`${above} ${command.alias()}\`.` : ''
  return [
    `## ${name}`,
    `${sentence(command.description())}${alias}`,
    ...(values.length > 0 ? [table(['argument or option', 'default', 'meaning'], values)] : []),
  ]
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
