import { Command, Option } from 'commander'
import { UsageError } from '../base/errors.ts'

/** What commands share. The exit status of the program is left in `status`. */
export interface CliContext {
  /** Aborted by Ctrl-C, and when the reader of our output is gone. */
  readonly signal: AbortSignal
  status: number
}

export type CreateCommand = (context: CliContext) => Command

export const formatOption = (): Option => new Option('--format <format>', 'default or json').default('default')
/** For commands that print tables. */
export const wideOption = (): Option =>
  new Option('--wide', 'show all columns and whole ids, however narrow the terminal is')
export const connectionArgument = [
  '[superlink]',
  'name of a connection in config.toml; default: its default connection',
] as const

/** Whether the last argument of a command names a connection. `flwr run` has no older form: it takes a folder before it. */
export function takesConnection(command: Command): boolean {
  return command.name() !== 'run' && `[${command.registeredArguments.at(-1)?.name()}]` === connectionArgument[0]
}

/** Flower's commands still list this flag of old and refuse it. Throws a UsageError (status 2). */
export const federationConfigOption = (): Option =>
  new Option('--federation-config <pairs>').hideHelp().argParser(() => {
    throw new UsageError(
      '--federation-config is gone from this command: write the address into config.toml and name the connection.',
      { exitStatus: 2 },
    )
  })

/** For options that may be given several times. */
export const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value]

/** A command that only holds others. */
export function group(name: string, description: string, commands: readonly Command[]): Command {
  const command = new Command(name).description(description)
  for (const sub of commands) command.addCommand(sub)
  return command
}

/** An id of 64 bits, exact. Throws a UsageError (status 2) that names it. */
export function parseId(text: string, what: string): bigint {
  if (/^\d{1,20}$/.test(text)) {
    const id = BigInt(text)
    if (id < 2n ** 64n) return id
  }
  throw new UsageError(`${what} must be a whole number below 2^64, not '${text}'.`, { exitStatus: 2 })
}
