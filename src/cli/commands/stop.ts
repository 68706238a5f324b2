import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { type CreateCommand, connectionArgument, formatOption, parseId } from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'

export const stopCommand: CreateCommand = (context) =>
  new Command('stop')
    .description('stop a run')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action(async (runIdText: string, connectionName: string | undefined, options: { format: string }) => {
      const runId = parseId(runIdText, 'RUN_ID')
      context.status = await runCommand(options.format, async (output) => {
        using control = openControl(connectionName, output.note)
        output.say(`Stopping run ID ${runId}...`)
        const { success } = await control.client.stopRun({ runId })
        if (!success) throw new UsageError(`Run ${runId} couldn't be stopped.`)
        output.say(`Run ${runId} successfully stopped.`)
        return { json: { success: true, 'run-id': runId.toString() } }
      })
    })
