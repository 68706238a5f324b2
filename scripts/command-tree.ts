import { type Command, Option } from 'commander'
import { rows as appRows } from '../src/app-runtime/config.ts'
import type { OptionRow } from '../src/base/options.ts'
import { createProgram } from '../src/cli/main.ts'
import { rows as superexecRows } from '../src/superexec/config.ts'
import { migrateRows } from '../src/superlink/maintenance/migrate.ts'
import { backupRows, checkRows, moveRows } from '../src/superlink/maintenance/stored-state.ts'
import { rows as superlinkRows } from '../src/superlink/options.ts'
import { rows as supernodeRows } from '../src/supernode/config.ts'

/** What man pages and completions know of a program or a command. */
export interface CommandNode {
  /** E.g. `flwr supernode list`. */
  readonly path: string
  /** Other last words of the path, e.g. `ls`. */
  readonly aliases: readonly string[]
  readonly summary: string
  /** E.g. `<run-id>` and `[superlink]`. */
  readonly operands: readonly { readonly usage: string; readonly help: string }[]
  readonly options: readonly OptionNode[]
  readonly commands: readonly CommandNode[]
}

export interface OptionNode {
  /** E.g. `--format <format>`. */
  readonly flags: string
  /** E.g. `-v` and `--verbose`. */
  readonly names: readonly string[]
  readonly takesValue: boolean
  /** The value is a file or a folder. */
  readonly isPath: boolean
  readonly choices: readonly string[]
  readonly help: string
  readonly default: string | undefined
}

const help: OptionNode = option(new Option('-h, --help', 'print this help'))
const version: OptionNode = option(new Option('-V, --version', 'print the version'))

/** Returns all programs with their commands and visible options, as the programs parse them. */
export async function listPrograms(): Promise<CommandNode[]> {
  const flwr = await createProgram({ signal: new AbortController().signal, status: 0 })
  return [
    { ...fromCommand(flwr, ''), options: [help, version] },
    fromRows('flower-superlink', 'the server: runs apps on the SuperNodes that connect to it', superlinkRows, [
      fromRows('flower-superlink backup', 'copy the state of a SuperLink, which may run meanwhile', backupRows),
      fromRows('flower-superlink check', 'compare the state of a SuperLink with its hashes', checkRows),
      fromRows('flower-superlink doctor', 'print what a bug report needs, without secrets', superlinkRows),
      fromRows('flower-superlink migrate', 'copy the state between SQLite and PostgreSQL', migrateRows),
      fromRows('flower-superlink move-objects', 'move large objects into a bucket, or back', moveRows),
    ]),
    fromRows('flower-supernode', 'the agent at the data: runs the ClientApps that the SuperLink sends', supernodeRows),
    fromRows('flower-superexec', 'launches the apps of a SuperLink or SuperNode', superexecRows),
    fromRows('flwr-serverapp', 'runs a ServerApp for one task; a SuperExec starts it', appRows),
    fromRows('flwr-clientapp', 'runs a ClientApp for one task; a SuperExec starts it', appRows),
  ]
}

function fromRows(
  path: string,
  summary: string,
  rows: readonly OptionRow[],
  commands: readonly CommandNode[] = [],
): CommandNode {
  const shown = rows.filter((row) => !row.hidden && row.refused === undefined)
  const options = shown.map((row) => {
    const made = new Option(row.flags, row.help)
    if (row.default !== undefined) made.default(row.default)
    if (row.choices) made.choices([...row.choices])
    return option(made)
  })
  return { path, aliases: [], summary, operands: [], options: [...options, help, version], commands }
}

function fromCommand(command: Command, above: string): CommandNode {
  const path = `${above} ${command.name()}`.trim()
  return {
    path,
    aliases: command.aliases(),
    summary: command.description(),
    operands: command.registeredArguments.map((argument) => ({
      usage: argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      help: argument.description,
    })),
    options: [...command.options.filter(({ hidden }) => !hidden).map(option), help],
    commands: command.commands.map((sub) => fromCommand(sub, path)),
  }
}

function option(made: Option): OptionNode {
  const value: unknown = made.defaultValue
  const choices = made.argChoices ?? (/^--format\b/.test(made.flags) ? ['default', 'json'] : [])
  return {
    flags: made.flags,
    names: [made.short, made.long].filter((name) => name !== undefined && name !== null),
    takesValue: made.required || made.optional,
    isPath: /[<[](path|file|folder|directory)[>\]]/.test(made.flags),
    choices,
    help: made.description,
    default: value === undefined || (Array.isArray(value) && value.length === 0) ? undefined : String(value),
  }
}

/** Returns the node and all nodes below it. */
export function withCommands(node: CommandNode): CommandNode[] {
  return [node, ...node.commands.flatMap(withCommands)]
}
