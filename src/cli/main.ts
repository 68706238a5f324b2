import { Command, CommanderError } from 'commander'
import { UsageError } from '../base/errors.ts'
import { versionText } from '../base/options.ts'
import type { Main } from '../base/program.ts'
import type { CliContext } from './command.ts'
import { loginCommand, pullCommand } from './commands/account.ts'
import { appCommand } from './commands/app.ts'
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

/** `flwr` */
export const main: Main = async (argv, signal) => {
  const context: CliContext = { signal, status: 0 }
  const program = createProgram(context)
  if (argv.length === 0) {
    program.outputHelp()
    return 0
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0 || error.code === 'commander.help') return 0
    throw new UsageError(`flwr: ${error.message.replace(/^error: /, '')}\nTry 'flwr --help'.`, { exitStatus: 2 })
  }
  return context.status
}

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
    configCommand,
    supernodeCommand,
    federationCommand,
    pkiCommand,
  ]
  for (const create of commands) program.addCommand(create(context))
  return quiet(program)
}

/** Every level reports its faults by throwing: one place writes them. */
function quiet(command: Command): Command {
  command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .allowExcessArguments(false)
  for (const sub of command.commands) quiet(sub)
  return command
}
