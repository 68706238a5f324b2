import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { appText } from '../../dashboard/views.ts'
import type { Federation } from '../../gen/flwr/proto/federation_pb.ts'
import type { Run } from '../../gen/flwr/proto/run_pb.ts'
import { type CliContext, type CreateCommand, connectionArgument, formatOption, group, wideOption } from '../command.ts'
import { openControl } from '../connect.ts'
import { float, type Json, runCommand } from '../output.ts'
import { elapsedSeconds, runStyle, statusText } from '../run-view.ts'
import { simulationToJson } from '../simulation-config.ts'
import { table, tableWidth } from '../table.ts'
import { durationText } from '../units.ts'
import { managementCommands } from './federation-management.ts'
import { simulationConfigCommand } from './simulation-config.ts'

export const federationCommand: CreateCommand = (context) =>
  group('federation', 'the federations of a SuperLink', [
    list(context),
    show(context),
    ...managementCommands(context),
    simulationConfigCommand(context),
  ])

interface ListOptions {
  readonly federation?: string
  readonly verbose?: boolean
  readonly wide?: boolean
  readonly format: string
}

function list(context: CliContext): Command {
  return new Command('list')
    .alias('ls')
    .description('list federations, or show one')
    .argument(...connectionArgument)
    .option('--federation <name>', 'show this federation')
    .option('-v, --verbose', 'also list archived federations')
    .addOption(wideOption())
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: ListOptions) => {
      if (options.federation !== undefined) return showFederation(context, options.federation, connectionName, options)
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const { federations } = await control.client.listFederations({})
        const shown = federations.filter(({ archived }) => options.verbose || !archived)
        output.say(
          table(
            [
              'Federation',
              { title: 'Description', isFreeText: true, rank: 1 },
              { title: 'Runtime', rank: 2 },
              'Status',
            ],
            shown.map(({ name, description, simulation, archived }) => [
              name,
              description,
              simulation ? 'simulation' : 'deployment',
              archived ? 'archived' : 'active',
            ]),
            tableWidth(options.wide),
          ),
        )
        const rows = federations.map(({ name, description, archived, simulation }) => ({
          name,
          id: name,
          description,
          archived,
          simulation,
        }))
        output.answer({ federations: rows })
        return undefined
      })
    })
}

function show(context: CliContext): Command {
  return new Command('show')
    .description('show members, SuperNodes and runs of a federation')
    .argument('<federation>')
    .argument(...connectionArgument)
    .addOption(wideOption())
    .addOption(formatOption())
    .action((name: string, connectionName: string | undefined, options: { wide?: boolean; format: string }) =>
      showFederation(context, name, connectionName, options),
    )
}

async function showFederation(
  context: CliContext,
  federationName: string,
  connectionName: string | undefined,
  options: { wide?: boolean; format: string },
): Promise<void> {
  context.status = await runCommand(context, options.format, async (output) => {
    using control = await openControl(context, connectionName, output)
    const { federation, now } = await control.client.showFederation({ federationName })
    if (!federation) throw new UsageError(`The SuperLink says nothing of federation '${federationName}'.`)
    output.say(federationText(federation, now, tableWidth(options.wide)))
    output.answer({ federation: federationToJson(federation, now) })
    return undefined
  })
}

function federationText(federation: Federation, now: string, width: number): string {
  const { members, nodes, runs } = federation
  return [
    'Federation Members',
    table(
      ['Account Name', 'Role'],
      members.map(({ account, role }) => [account?.name ?? '', role]),
    ),
    '',
    ...(federation.simulation ? simulationLines(federation.config) : nodeLines(nodes, width)),
    '',
    'Runs in the Federation',
    table(
      [
        { title: 'Run ID', isId: true },
        'App',
        { title: 'Status', styleOf: (_, row) => runStyle(runs[row] as Run) },
        { title: 'Elapsed', rank: 1 },
      ],
      runs.map((run) => [run.runId.toString(), appText(run), statusText(run), durationText(elapsedSeconds(run, now))]),
      width,
    ),
  ].join('\n')
}

function nodeLines(nodes: Federation['nodes'], width: number): string[] {
  const shown = nodes.filter(({ status }) => status !== 'unregistered')
  const rows = shown.map(({ nodeId, ownerName, status }) => [nodeId.toString(), ownerName, status])
  return [
    'SuperNodes in the Federation',
    table([{ title: 'Node ID', isId: true }, { title: 'Owner', rank: 1 }, 'Status'], rows, width),
  ]
}

function simulationLines(config: Federation['config']): string[] {
  const rows = [
    ['Number of SuperNodes', 'num-supernodes', config?.numSupernodes],
    ['CPUs of each ClientApp', 'client-resources-num-cpus', config?.clientResourcesNumCpus],
    ['GPUs of each ClientApp', 'client-resources-num-gpus', config?.clientResourcesNumGpus],
    ['Backend', 'backend', config?.backend],
  ].map(([setting, key, value]) => [String(setting), String(key), String(value ?? '')])
  return ['Simulation Configuration', table(['Setting', 'Key', 'Value'], rows)]
}

function federationToJson(federation: Federation, now: string): Json {
  return {
    members: federation.members.map(({ account, role }) => ({ member_id: account?.name ?? '', role })),
    nodes: federation.nodes.map(({ nodeId, ownerName, status }) => ({
      node_id: nodeId.toString(),
      owner: ownerName,
      ...(federation.archived ? {} : { status }),
    })),
    runs: federation.runs.map((run) => ({
      run_id: run.runId.toString(),
      app: appText(run),
      status: statusText(run),
      elapsed: float(elapsedSeconds(run, now)),
    })),
    archived: federation.archived,
    simulation: federation.simulation,
    'simulation-config': simulationToJson(federation.config),
  }
}
