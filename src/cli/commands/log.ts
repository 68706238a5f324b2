import { Command, Option } from 'commander'
import { printableLines } from '../../base/printable.ts'
import { type CliContext, type CreateCommand, connectionArgument, federationConfigOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { endText, followRun } from '../follow.ts'
import { runCommand, writeLine } from '../output.ts'
import { statusText } from '../run-view.ts'
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
    .addOption(
      new Option('--format <format>', 'default or json; json prints the log so far in one document').default('default'),
    )
    .action(
      async (runIdText: string, connectionName: string | undefined, options: { show?: boolean; format: string }) => {
        const given = parseId(runIdText, 'RUN_ID')
        context.status = await runCommand(context, options.format, async (output) => {
          using control = await openControl(context, connectionName, output)
          const runId = await findRunId(control.client, given, 'RUN_ID')
          if (output.format === 'json') {
            const { runDict } = await control.client.listRuns({ runId })
            const run = Object.values(runDict)[0]
            const log = printableLines(await readLog(context, control.client, runId), { colors: false })
            output.answer({ success: true, 'run-id': runId.toString(), status: run ? statusText(run) : null, log })
            return 0
          }
          if (options.show) {
            const log = await readLog(context, control.client, runId)
            if (log !== '') writeLine(process.stdout, log.replace(/\n$/, ''))
            return 0
          }
          const ended = await followRun(context, control, runId, output, { milestones: false })
          // Standard output is the log and nothing else.
          if (ended) output.note(endText(ended))
          return 0
        })
      },
    )

/** Returns the log so far: the first part of the stream is everything that is there. */
async function readLog(context: CliContext, client: ControlClient, runId: bigint): Promise<string> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(showMs)])
  try {
    for await (const part of client.streamLogs({ runId, afterTimestamp: 0 }, { signal })) {
      return part.logOutput
    }
  } catch (error) {
    if (!signal.aborted || context.signal.aborted) throw error
  }
  return ''
}
