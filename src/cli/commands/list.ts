import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
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
import { runDetails, runTable } from '../run-table.ts'
import { runToJson } from '../run-view.ts'
import { findRunId } from '../short-ids.ts'
import { tableWidth } from '../table.ts'

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
