import { Command } from 'commander'
import { type CreateCommand, connectionArgument, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { followRun } from '../follow.ts'
import { runCommand } from '../output.ts'

const showMs = 5000

export const logCommand: CreateCommand = (context) =>
  new Command('log')
    .description('print the log of a run')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .option('--stream', 'follow it until the run ends (the default)')
    .option('--show', 'print what is there and end')
    .action(async (runIdText: string, connectionName: string | undefined, options: { show?: boolean }) => {
      const runId = parseId(runIdText, 'RUN_ID')
      context.status = await runCommand('default', async (output) => {
        using control = openControl(connectionName, output.note)
        if (options.show) await showLog(control.client, runId)
        else await followRun(control.client, runId, { signal: context.signal, progress: false })
        return undefined
      })
    })

/** The first part of the stream is everything that is there. */
async function showLog(client: ControlClient, runId: bigint): Promise<void> {
  const signal = AbortSignal.timeout(showMs)
  try {
    for await (const part of client.streamLogs({ runId, afterTimestamp: 0 }, { signal })) {
      process.stdout.write(`${part.logOutput}\n`)
      return
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
