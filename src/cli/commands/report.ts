import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { eventView, runView } from '../../dashboard/views.ts'
import type { RunEventView } from '../../web/model.ts'
import { emptySeries, withEvents } from '../../web/run-series.ts'
import { type CreateCommand, connectionArgument, formatOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { reportPage } from '../dashboard/report-page.ts'
import { runCommand } from '../output.ts'
import { findRunId } from '../short-ids.ts'

/** The events of a run that goes on have no end: so long after the last one, the report is written. */
const quietMs = 3000

export const reportCommand: CreateCommand = (context) =>
  new Command('report')
    .description('write the curves and facts of a run into one HTML file')
    .argument('<run-id>')
    .argument(...connectionArgument)
    .option('-o, --output <file>', 'file to write (default: run-RUN_ID.html)')
    .addOption(formatOption())
    .action(
      async (runIdText: string, connectionName: string | undefined, options: { output?: string; format: string }) => {
        const given = parseId(runIdText, 'RUN_ID')
        context.status = await runCommand(context, options.format, async (output) => {
          using control = await openControl(context, connectionName, output)
          const runId = await findRunId(control.client, given, 'RUN_ID')
          const { runDict, now } = await control.client.listRuns({ runId })
          const run = Object.values(runDict)[0]
          if (!run) throw new UsageError('The run was not found: see flwr ls.')
          const events = await readEvents(control.client, runId, context.signal)
          const file = options.output ?? `run-${runId}.html`
          write(file, reportPage(runView(run), withEvents(emptySeries(), events), now))
          output.say(`Wrote ${file}.`)
          output.answer({ success: true, 'run-id': runId.toString(), file })
          return 0
        })
      },
    )

/** What there is now. Our SuperLinks say how many replies there are when they have sent the events so far. */
async function readEvents(client: ControlClient, runId: bigint, signal: AbortSignal): Promise<RunEventView[]> {
  const quiet = new AbortController()
  const timer = setTimeout(() => quiet.abort(), quietMs)
  const events: RunEventView[] = []
  try {
    for await (const { taskEvent } of client.streamRunEvents(
      { runId },
      { signal: AbortSignal.any([signal, quiet.signal]) },
    )) {
      timer.refresh()
      if (!taskEvent) continue
      if (taskEvent.event === 'trellis.replies') break
      events.push(eventView(taskEvent))
    }
  } catch (error) {
    if (!quiet.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
  }
  return events
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw new UsageError(`${file} cannot be written (${code}): give another file with --output.`, { cause })
  }
}
