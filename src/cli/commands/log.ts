import { Command } from 'commander'
import { type CliContext, type CreateCommand, connectionArgument, federationConfigOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { endText, followRun } from '../follow.ts'
import { runCommand, writeLine } from '../output.ts'
import { findRunId } from '../short-ids.ts'

const showMs = 5000

export const logCommand: CreateCommand = (context) =>
  new Command('log')
    .description('print the log of a run')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .addOption(federationConfigOption())
    .option('--stream', 'follow the log until the run ends (default)')
    .option('--show', 'print the log so far and end')
    .action(async (runIdText: string, connectionName: string | undefined, options: { show?: boolean }) => {
      const given = parseId(runIdText, 'RUN_ID')
      context.status = await runCommand(context, 'default', async (output) => {
        using control = await openControl(context, connectionName, output)
        const runId = await findRunId(control.client, given, 'RUN_ID')
        if (options.show) return await showLog(context, control.client, runId)
        const ended = await followRun(context, control, runId, output, { milestones: false })
        // Standard output is the log and nothing else.
        if (ended) output.note(endText(ended))
        return 0
      })
    })

/** The first part of the stream is everything that is there. */
async function showLog(context: CliContext, client: ControlClient, runId: bigint): Promise<number> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(showMs)])
  try {
    for await (const part of client.streamLogs({ runId, afterTimestamp: 0 }, { signal })) {
      writeLine(process.stdout, part.logOutput.replace(/\n$/, ''))
      break
    }
  } catch (error) {
    if (!signal.aborted || context.signal.aborted) throw error
  }
  return 0
}
