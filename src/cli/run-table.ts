import { oneLine } from '../base/printable.ts'
import { appText, configOf } from '../dashboard/views.ts'
import type { Run } from '../gen/flwr/proto/run_pb.ts'
import { changedAt, elapsedSeconds, runStyle, statusText, waitText } from './run-view.ts'
import { details, table } from './table.ts'
import { bytesText, durationText, instantText, sinceText } from './units.ts'

/** The reasons of so many runs are shown, the newest first. */
const reasonsMax = 3

/** Returns the table of `flwr ls`, and below it what runs wait for and why the last ones failed or achieved nothing. */
export function runTable(runs: readonly Run[], now: string, width: number): string {
  if (runs.length === 0) return 'There are no runs yet: start one with flwr run.'
  const waits = runs.flatMap((run) => {
    const text = waitText(run)
    return text === undefined ? [] : [`Run ${run.runId} ${text}`]
  })
  const failures = runs.filter((run) => run.status?.subStatus !== 'stopped' && run.status?.details)
  const list = table(
    [
      { title: 'Run ID', isId: true },
      { title: 'Federation', rank: 4 },
      { title: 'App', rank: 1 },
      { title: 'Status', styleOf: (_, row) => runStyle(runs[row] as Run) },
      { title: 'Elapsed', rank: 3 },
      { title: width === Number.POSITIVE_INFINITY ? 'Status Changed @' : 'Changed', rank: 2 },
    ],
    runs.map((run) => [
      run.runId.toString(),
      run.federation,
      appText(run),
      statusText(run),
      durationText(elapsedSeconds(run, now)),
      sinceText(changedAt(run), now, width),
    ]),
    width,
  )
  const reasons = failures
    .slice(0, reasonsMax)
    .map((run) => `Run ${run.runId} ${verbOf(run)}: ${oneLine(run.status?.details ?? '')}`)
  return [list, ...waits, ...reasons].join('\n')
}

/** A run of which all trainings failed has completed all the same, with the reason as its details. */
const verbOf = ({ status }: Run): string => (status?.subStatus === 'completed' ? 'completed, but' : 'failed')

/** Returns one run in detail. */
export function runDetails(run: Run, now: string): string {
  const elapsed = elapsedSeconds(run, now)
  const why = run.status?.details
  const wait = waitText(run)
  return details([
    ['Run ID', run.runId.toString()],
    ['Federation', run.federation],
    ['App', appText(run)],
    ['FAB Hash', `${run.fabHash.slice(0, 8)}...${run.fabHash.slice(-8)}`],
    ...(run.flwrAid.startsWith('<') ? [] : ([['Account', oneLine(run.accountName || run.flwrAid)]] as const)),
    ...(run.organization ? ([['Organization', oneLine(run.organization)]] as const) : []),
    ...Object.entries(configOf(run)).map(([key, value]) => [`Config: ${key}`, value] as const),
    ['Status', statusText(run)],
    ...(why ? ([['Details', why]] as const) : []),
    ...(wait ? ([['Waiting', `It ${wait}`]] as const) : []),
    ['Elapsed', durationText(elapsed)],
    ['Pending At', instantText(run.pendingAt)],
    ['Starting At', instantText(run.startingAt)],
    ['Running At', instantText(run.runningAt)],
    ['Finished At', instantText(run.finishedAt)],
    ['Network traffic (inbound)', bytesText(Number(run.bytesRecv))],
    ['Network traffic (outbound)', bytesText(Number(run.bytesSent))],
    ['Network Traffic (total)', bytesText(Number(run.bytesRecv + run.bytesSent))],
    ['Compute Time (ServerApp)', durationText(elapsed)],
    ['Compute Time (ClientApp)', durationText(run.clientappRuntime)],
    ['Compute Time (total)', durationText(elapsed + run.clientappRuntime)],
  ])
}
