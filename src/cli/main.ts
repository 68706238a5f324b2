import { Command, CommanderError, Help, type Option } from 'commander'
import { errorText, UsageError } from '../base/errors.ts'
import { versionText } from '../base/options.ts'
import type { Main } from '../base/program.ts'
import { type CliContext, type CreateCommand, takesConnection } from './command.ts'
import { abortWhenUnread, readFormat, writeErrorDocument } from './output.ts'

/** `flwr` */
export const main: Main = async (argv, signal) => {
  const context: CliContext = { signal: AbortSignal.any([signal, abortWhenUnread()]), status: 0 }
  const program = await createProgram(context, namesToLoad(argv))
  if (argv.length === 0) {
    program.outputHelp()
    return helpStatus
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof EndedBeforeAction) return error.status
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : helpStatus
  }
  return context.status
}

/** Ends a command whose error is written already. */
class EndedBeforeAction extends Error {
  readonly status: number

  constructor(status: number) {
    super('the command ended before its action')
    this.status = status
  }
}

/** Status after a help text that was printed because a command was missing. */
const helpStatus = 2

/** The commands in the order of the help, each with the module that makes it. */
const commands: Readonly<Record<string, () => Promise<CreateCommand>>> = {
  new: async () => (await import('./commands/new.ts')).newCommand,
  run: async () => (await import('./commands/run.ts')).runCommand,
  build: async () => (await import('./commands/build.ts')).buildCommand,
  install: async () => (await import('./commands/install.ts')).installCommand,
  log: async () => (await import('./commands/log.ts')).logCommand,
  list: async () => (await import('./commands/list.ts')).listCommand,
  whoami: async () => (await import('./commands/whoami.ts')).whoamiCommand,
  events: async () => (await import('./commands/events.ts')).eventsCommand,
  top: async () => (await import('./commands/top.ts')).topCommand,
  dashboard: async () => (await import('./commands/dashboard.ts')).dashboardCommand,
  report: async () => (await import('./commands/report.ts')).reportCommand,
  stop: async () => (await import('./commands/stop.ts')).stopCommand,
  login: async () => (await import('./commands/account.ts')).loginCommand,
  pull: async () => (await import('./commands/account.ts')).pullCommand,
  app: async () => (await import('./commands/app.ts')).appCommand,
  chat: async () => (await import('./commands/app.ts')).chatCommand,
  config: async () => (await import('./commands/config.ts')).configCommand,
  supernode: async () => (await import('./commands/supernode.ts')).supernodeCommand,
  federation: async () => (await import('./commands/federation.ts')).federationCommand,
  pki: async () => (await import('./commands/pki.ts')).pkiCommand,
  tls: async () => (await import('./commands/tls.ts')).tlsCommand,
}

/**
 * Loads only the module of the command that is called, because most of the start-up time is spent on loading. Help and
 * faults need all of them: the help lists their arguments, and a fault suggests a similar name.
 */
function namesToLoad([first = '']: readonly string[]): readonly string[] {
  if (versionFlags.includes(first)) return []
  const name = first === 'ls' ? 'list' : first
  return Object.hasOwn(commands, name) ? [name] : Object.keys(commands)
}

const versionFlags: readonly string[] = ['-V', '--version']

/** Builds the parser with the named commands; without names, with all of them. */
export async function createProgram(
  context: CliContext,
  names: readonly string[] = Object.keys(commands),
): Promise<Command> {
  const program = new Command('flwr')
    .description('Builds apps and runs them on a SuperLink.')
    .version(versionText, versionFlags.join(', '), 'print the version')
  for (const name of names) {
    const create = await commands[name]?.()
    if (create) program.addCommand(create(context))
  }
  return throwFaults(program, 'flwr')
}

/** Descriptions are wrapped in narrow terminals too, where the names of the commands leave them little of the line. */
const helpWrapColumns = 15

/** Nearly every command has options: a list of commands does not say so each time. Many arguments are left to its own help. */
function subcommandTerm(command: Command): string {
  const names = [command.name(), ...command.aliases()].join('|')
  const args = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`
    return argument.required ? `<${name}>` : `[${name}]`
  })
  const term = [names, ...args].join(' ')
  return term.length > termCharactersMax ? names : term
}

const termCharactersMax = 38

/** An option that may be given several times has no default to show. */
function optionDescription(option: Option): string {
  const plain = new Help()
  const { defaultValue } = option
  return Array.isArray(defaultValue) && defaultValue.length === 0 ? option.description : plain.optionDescription(option)
}

/** Every level reports its faults by throwing, with the name of the command: one place writes them. */
function throwFaults(command: Command, path: string): Command {
  command
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ minWidthToWrap: helpWrapColumns, optionDescription, subcommandTerm })
    .exitOverride((error) => {
      if (error.exitCode === 0 || error.code === 'commander.help') throw error
      const fault = error.message.replace(/^error: /, '').replace(/\.$/, '')
      throw new UsageError(`${path}: ${fault}.\nTry '${path} --help'.`, { exitStatus: 2 })
    })
    .configureOutput({ outputError: () => {} })
    .allowExcessArguments(takesConnection(command))
  if (takesConnection(command)) {
    command.hook('preAction', async () => {
      const format = readFormat(command.opts<{ format?: string }>().format)
      const { replaceOldForm } = await import('./old-form.ts')
      try {
        replaceOldForm(command, path)
      } catch (error) {
        if (format !== 'json' || !(error instanceof UsageError) || error.exitStatus === helpStatus) throw error
        writeErrorDocument([errorText(error)])
        // Flower's status of the older form: 1, but with --format json 0, whether or not there was anything to move.
        throw new EndedBeforeAction(0)
      }
    })
  }
  if (command.commands.length > 0) command.helpCommand('help [command]', 'print the help of a command')
  for (const sub of command.commands) throwFaults(sub, `${path} ${sub.name()}`)
  return command
}
