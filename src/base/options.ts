import { Command, CommanderError, Option } from 'commander'
import { UsageError } from './errors.ts'
import { flowerGrpcVersion, flowerHttpVersion, trellisVersion } from './version.ts'

/** One flag of a program. The table of them makes parser and help; values arrive by their long name in camel case. */
export interface OptionRow {
  /** As commander reads it: `--isolation <mode>`, or `--insecure` for a switch. */
  readonly flags: string
  readonly help: string
  readonly default?: string
  readonly choices?: readonly string[]
  /** May be given several times; the value is a list. */
  readonly repeats?: boolean
  /** Accepted and hidden: an old name, or one that needs no words. */
  readonly hidden?: boolean
  /** Why the flag is refused, for those that other releases have. */
  readonly refused?: string
}

export type OptionValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** Reads arguments. Returns `undefined` if help or version was asked for and printed. Throws a UsageError (status 2). */
export function parseOptions(
  name: string,
  summary: string,
  rows: readonly OptionRow[],
  argv: readonly string[],
): OptionValues | undefined {
  const command = new Command(name)
    .description(summary)
    .version(versionText, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .allowExcessArguments(false)
  for (const row of rows) {
    const option = new Option(row.flags, row.help)
    if (row.default !== undefined) option.default(row.default)
    if (row.choices) option.choices(row.choices)
    if (row.repeats) option.argParser((value: string, before: readonly string[] = []) => [...before, value])
    if (row.hidden || row.refused) option.hideHelp()
    command.addOption(option)
  }
  try {
    command.parse([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return undefined
    throw new UsageError(`${name}: ${error.message.replace(/^error: /, '')}\nTry '${name} --help'.`, { exitStatus: 2 })
  }
  const values = command.opts() as OptionValues
  for (const row of rows) {
    const attribute = new Option(row.flags).attributeName()
    if (row.refused && values[attribute] !== undefined) {
      throw new UsageError(`${row.flags.split(' ')[0]} ${row.refused}`, { flowerCode: 104 })
    }
  }
  return values
}

export const versionText = `Flower version: ${flowerGrpcVersion}\nTrellis ${trellisVersion}, speaks Flower ${flowerGrpcVersion} and ${flowerHttpVersion}`

/** A whole number within bounds, or a UsageError that names the flag. */
export function wholeNumber(
  value: OptionValues[string],
  flag: string,
  bounds: { min: number; max?: number },
): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value)
  const good = /^\d+$/.test(String(value)) && number >= bounds.min && number <= (bounds.max ?? Number.MAX_SAFE_INTEGER)
  if (good) return number
  throw new UsageError(
    `${flag} must be a whole number of at least ${bounds.min}${bounds.max === undefined ? '' : ` and at most ${bounds.max}`}, not '${value}'.`,
    { exitStatus: 2 },
  )
}

/** How long a program that has been told to end by SIGTERM may complete work under way. */
export const drainRow: OptionRow = {
  flags: '--drain-timeout <seconds>',
  help: 'time for work under way to complete after SIGTERM; a second SIGTERM ends the program at once',
  default: '30',
}

export function readDrainMs({ drainTimeout }: OptionValues): number {
  return (wholeNumber(drainTimeout, '--drain-timeout', { min: 0, max: 3600 }) as number) * 1000
}
