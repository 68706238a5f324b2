import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import { oneLine } from '../../base/printable.ts'
import type { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { Run } from '../../gen/flwr/proto/run_pb.ts'
import type { Client } from '../../rpc/channel.ts'
import { listAllRuns } from '../all-runs.ts'
import {
  type CreateCommand,
  connectionArgument,
  federationConfigOption,
  formatOption,
  parseId,
  wideOption,
} from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'
import { findRunNodes, runNodesTable, runNodesToJson } from '../run-nodes.ts'
import { appText, changedAt, elapsedSeconds, runStyle, runToJson, statusText, waitText } from '../run-view.ts'
import { findRunId } from '../short-ids.ts'
import { details, table, tableWidth } from '../table.ts'
import { bytesText, durationText, instantText } from '../units.ts'

interface Options {
  readonly runId?: string
  readonly limit?: string
  readonly wide?: boolean
  readonly format: string
}

export const listCommand: CreateCommand = (context) =>
  new Command('list')
    .alias('ls')
    .description('list runs, newest first')
    .argument(...connectionArgument)
    .addOption(federationConfigOption())
    .option('--runs', 'list all runs (default)')
    .option('--run-id <id>', 'show one run in detail')
    .option('--limit <count>', 'maximum number of runs')
    .addOption(wideOption())
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: Options) => {
      const limit = wholeNumber(options.limit, '--limit', { min: 1 })
      const given = options.runId === undefined ? undefined : parseId(options.runId, '--run-id')
      context.status = await runCommand(context, options.format, async (output) => {
        if (given !== undefined && limit !== undefined)
          throw new UsageError(`The options '--run-id' and '--limit' cannot be used together.`)
        using control = await openControl(context, connectionName, output)
        const runId = given === undefined ? undefined : await findRunId(control.client, given, '--run-id')
        const { runs: found, now } = await findRuns(control.client, runId, limit)
        const runs = found.sort((a, b) => (a.pendingAt === b.pendingAt ? 0 : a.pendingAt < b.pendingAt ? 1 : -1))
        const nodes = runId === undefined ? undefined : await findRunNodes(control.client, runId)
        const width = tableWidth(options.wide)
        output.say(runId !== undefined && runs[0] ? runDetails(runs[0], now) : runTable(runs, now, width))
        if (nodes && nodes.nodes.length > 0) output.say(`\n${runNodesTable(nodes, width)}`)
        const documents = runs.map((run) => runToJson(run, now))
        output.answer({ success: true, runs: documents, ...(nodes ? { nodes: runNodesToJson(nodes) } : {}) })
        return undefined
      })
    })

async function findRuns(
  client: Client<typeof Control>,
  runId: bigint | undefined,
  limit: number | undefined,
): Promise<{ runs: Run[]; now: string }> {
  if (runId === undefined && limit === undefined) return listAllRuns(client)
  const { runDict, now } = await client.listRuns(runId === undefined ? { limit: BigInt(limit ?? 0) } : { runId })
  return { runs: Object.values(runDict), now }
}

/** Reasons of so many failed runs are shown, the newest first. */
const reasonsMax = 3

function runTable(runs: readonly Run[], now: string, width: number): string {
  if (runs.length === 0) return 'There are no runs yet: start one with flwr run.'
  const waits = runs.flatMap((run) => {
    const text = waitText(run)
    return text === undefined ? [] : [`Run ${run.runId} ${text}`]
  })
  const failures = runs.filter((run) => run.status?.subStatus === 'failed' && run.status.details !== '')
  const list = table(
    [
      { title: 'Run ID', isId: true },
      { title: 'Federation', rank: 3 },
      { title: 'App', rank: 1 },
      { title: 'Status', styleOf: runStyle },
      { title: 'Elapsed', rank: 2 },
      { title: 'Status Changed @', rank: 4 },
    ],
    runs.map((run) => [
      run.runId.toString(),
      run.federation,
      appText(run),
      statusText(run),
      durationText(elapsedSeconds(run, now)),
      changedAt(run),
    ]),
    width,
  )
  const reasons = failures
    .slice(0, reasonsMax)
    .map((run) => `Run ${run.runId} failed: ${oneLine(run.status?.details ?? '')}`)
  return [list, ...waits, ...reasons].join('\n')
}

function runDetails(run: Run, now: string): string {
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
