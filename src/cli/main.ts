import { Command, CommanderError } from 'commander'
import { UsageError } from '../base/errors.ts'
import { versionText } from '../base/options.ts'
import type { Main } from '../base/program.ts'
import type { CliContext } from './command.ts'
import { loginCommand, pullCommand } from './commands/account.ts'
import { appCommand, chatCommand } from './commands/app.ts'
import { buildCommand } from './commands/build.ts'
import { configCommand } from './commands/config.ts'
import { federationCommand } from './commands/federation.ts'
import { installCommand } from './commands/install.ts'
import { listCommand } from './commands/list.ts'
import { logCommand } from './commands/log.ts'
import { newCommand } from './commands/new.ts'
import { pkiCommand } from './commands/pki.ts'
import { runCommand } from './commands/run.ts'
import { stopCommand } from './commands/stop.ts'
import { supernodeCommand } from './commands/supernode.ts'
import { tlsCommand } from './commands/tls.ts'
import { abortWhenUnread } from './output.ts'

/** `flwr` */
export const main: Main = async (argv, signal) => {
  const context: CliContext = { signal: AbortSignal.any([signal, abortWhenUnread()]), status: 0 }
  const program = createProgram(context)
  if (argv.length === 0) {
    program.outputHelp()
    return helpStatus
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : helpStatus
  }
  return context.status
}

/** Help that nobody asked for: a command was missing. */
const helpStatus = 2

export function createProgram(context: CliContext): Command {
  const program = new Command('flwr')
    .description('Builds apps and runs them on a SuperLink.')
    .version(versionText, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
  const commands = [
    newCommand,
    runCommand,
    buildCommand,
    installCommand,
    logCommand,
    listCommand,
    stopCommand,
    loginCommand,
    pullCommand,
    appCommand,
    chatCommand,
    configCommand,
    supernodeCommand,
    federationCommand,
    pkiCommand,
    tlsCommand,
  ]
  for (const create of commands) program.addCommand(create(context))
  return throwFaults(program, 'flwr')
}

/** Every level reports its faults by throwing, with the name of the command: one place writes them. */
function throwFaults(command: Command, path: string): Command {
  command
    .exitOverride((error) => {
      if (error.exitCode === 0 || error.code === 'commander.help') throw error
      const fault = error.message.replace(/^error: /, '').replace(/\.$/, '')
      throw new UsageError(`${path}: ${fault}.\nTry '${path} --help'.`, { exitStatus: 2 })
    })
    .configureOutput({ outputError: () => {} })
    .allowExcessArguments(false)
  for (const sub of command.commands) throwFaults(sub, `${path} ${sub.name()}`)
  return command
}
