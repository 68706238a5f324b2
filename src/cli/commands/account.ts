import { Command } from 'commander'
import { type CreateCommand, connectionArgument, parseId } from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'

/** Logging in needs a SuperLink with account authentication: ours says that it has none. */
export const loginCommand: CreateCommand = (context) =>
  new Command('login')
    .description('log in to a SuperLink with accounts')
    .argument(...connectionArgument)
    .action(async (connectionName: string | undefined) => {
      context.status = await runCommand('default', async (output) => {
        using control = openControl(connectionName, output.note)
        const { authnType } = await control.client.getLoginDetails({})
        if (authnType !== 'noop') await control.client.getAuthTokens({ deviceCode: '' })
        output.say('No login is needed for this SuperLink.')
        return undefined
      })
    })

export const pullCommand: CreateCommand = (context) =>
  new Command('pull')
    .description('get the artifacts of a run')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .action(async (runIdText: string, connectionName: string | undefined) => {
      context.status = await runCommand('default', async (output) => {
        const runId = parseId(runIdText, 'RUN_ID')
        using control = openControl(connectionName, output.note)
        const { url } = await control.client.pullArtifacts({ runId })
        output.say(url ?? '')
        return undefined
      })
    })
