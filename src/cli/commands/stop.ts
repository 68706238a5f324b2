import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { type CreateCommand, connectionArgument, federationConfigOption, formatOption, parseId } from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'
import { findRunId } from '../short-ids.ts'

export const stopCommand: CreateCommand = (context) =>
  new Command('stop')
    .description('stop a run')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .addOption(federationConfigOption())
    .addOption(formatOption())
    .action(async (runIdText: string, connectionName: string | undefined, options: { format: string }) => {
      const given = parseId(runIdText, 'RUN_ID')
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const runId = await findRunId(control.client, given, 'RUN_ID')
        output.say(`Stopping run ${runId} ...`)
        const { success } = await control.client.stopRun({ runId })
        if (!success) throw new UsageError(`Run ${runId} could not be stopped: see flwr ls --run-id ${runId}.`)
        output.say(`Run ${runId} was stopped.`)
        output.answer({ success: true, 'run-id': runId.toString() })
        return undefined
      })
    })
