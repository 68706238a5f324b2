import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import { type CreateCommand, connectionArgument, federationConfigOption, parseId } from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'
import { findRunId } from '../short-ids.ts'

/** Logging in needs a SuperLink with accounts. Ours knows its callers by their certificates. */
export const loginCommand: CreateCommand = (context) =>
  new Command('login')
    .description('log in to a SuperLink with accounts (not supported)')
    .argument(...connectionArgument)
    .addOption(federationConfigOption())
    .action(async (connectionName: string | undefined) => {
      context.status = await runCommand(context, 'default', async (output) => {
        using control = await openControl(context, connectionName, output)
        if (control.connection.insecure)
          throw new UsageError(`${control.connection.where} has 'insecure = true': logging in needs TLS.`)
        const { authnType } = await control.client.getLoginDetails({})
        throw new UsageError(
          authnType === 'noop'
            ? 'Account authentication is not enabled on this SuperLink: there is nothing to log in to.'
            : `This SuperLink wants a login by '${oneLine(authnType)}', which Trellis does not have: use the flwr command of Flower.`,
        )
      })
    })

export const pullCommand: CreateCommand = (context) =>
  new Command('pull')
    .description("print the download address of a run's artifacts")
    .argument('<run-id>')
    .argument(...connectionArgument)
    .addOption(federationConfigOption())
    .action(async (runIdText: string, connectionName: string | undefined) => {
      const given = parseId(runIdText, 'RUN_ID')
      context.status = await runCommand(context, 'default', async (output) => {
        using control = await openControl(context, connectionName, output)
        const runId = await findRunId(control.client, given, 'RUN_ID')
        const { url } = await control.client.pullArtifacts({ runId })
        if (!url) throw new UsageError(`The SuperLink has no artifacts of run ${runId}.`)
        output.say(oneLine(url))
        return undefined
      })
    })
