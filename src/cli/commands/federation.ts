import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { Federation } from '../../gen/flwr/proto/federation_pb.ts'
import { type CliContext, type CreateCommand, connectionArgument, formatOption, group, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { type Json, runCommand } from '../output.ts'
import { appText, elapsedSeconds, statusText } from '../run-view.ts'
import { table } from '../table.ts'
import { durationText } from '../units.ts'

export const federationCommand: CreateCommand = (context) =>
  group('federation', 'the federations of a SuperLink', [
    list(context),
    show(context),
    managed(context, 'create', ['<name>'], (client, [federationName = '']) =>
      client.createFederation({ federationName }),
    ),
    managed(context, 'archive', ['<federation>'], (client, [federationName = '']) =>
      client.archiveFederation({ federationName }),
    ),
    managed(context, 'add-supernode', ['<node-id>', '<federation>'], (client, [nodeId = '', federationName = '']) =>
      client.addNodeToFederation({ nodeId: parseId(nodeId, 'NODE_ID'), federationName }),
    ),
    managed(context, 'remove-supernode', ['<node-id>', '<federation>'], (client, [nodeId = '', federationName = '']) =>
      client.removeNodeFromFederation({ nodeId: parseId(nodeId, 'NODE_ID'), federationName }),
    ),
  ])

interface ListOptions {
  readonly federation?: string
  readonly verbose?: boolean
  readonly format: string
}

function list(context: CliContext): Command {
  return new Command('list')
    .alias('ls')
    .description('list federations, or show one')
    .argument(...connectionArgument)
    .option('--federation <name>', 'show this one')
    .option('-v, --verbose', 'archived ones too')
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: ListOptions) => {
      if (options.federation !== undefined) return showFederation(context, options.federation, connectionName, options)
      context.status = await runCommand(options.format, async (output) => {
        using control = openControl(connectionName, output.note)
        const { federations } = await control.client.listFederations({})
        const shown = federations.filter(({ archived }) => options.verbose || !archived)
        output.say(
          table(
            ['Federation', 'Description', 'Runtime', 'Status'],
            shown.map(({ name, description, simulation, archived }) => [
              name,
              description,
              simulation ? 'simulation' : 'deployment',
              archived ? 'archived' : 'active',
            ]),
          ),
        )
        const rows = federations.map(({ name, description, archived, simulation }) => ({
          name,
          description,
          archived,
          simulation,
        }))
        return { json: { federations: rows } }
      })
    })
}

function show(context: CliContext): Command {
  return new Command('show')
    .description('show members, SuperNodes and runs of a federation')
    .argument('<federation>')
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action((name: string, connectionName: string | undefined, options: { format: string }) =>
      showFederation(context, name, connectionName, options),
    )
}

async function showFederation(
  context: CliContext,
  federationName: string,
  connectionName: string | undefined,
  options: { format: string },
): Promise<void> {
  context.status = await runCommand(options.format, async (output) => {
    using control = openControl(connectionName, output.note)
    const { federation, now } = await control.client.showFederation({ federationName })
    if (!federation) throw new UsageError(`The SuperLink says nothing of federation '${federationName}'.`)
    output.say(federationText(federation, now))
    return { json: { federation: federationToJson(federation, now) } }
  })
}

function federationText(federation: Federation, now: string): string {
  const { members, nodes, runs } = federation
  return [
    'Federation Members',
    table(
      ['Account Name', 'Role'],
      members.map(({ account, role }) => [account?.name ?? '', role]),
    ),
    '',
    'SuperNodes in the Federation',
    table(
      ['Node ID', 'Owner', 'Status'],
      nodes
        .filter(({ status }) => status !== 'unregistered')
        .map(({ nodeId, ownerName, status }) => [nodeId.toString(), ownerName, status]),
    ),
    '',
    'Runs in the Federation',
    table(
      ['Run ID', 'App', 'Status', 'Elapsed'],
      runs.map((run) => [run.runId.toString(), appText(run), statusText(run), durationText(elapsedSeconds(run, now))]),
    ),
  ].join('\n')
}

const simulationFields = [
  'num_supernodes',
  'client_resources_num_cpus',
  'client_resources_num_gpus',
  'backend',
  'verbose',
  'init_args_num_cpus',
  'init_args_num_gpus',
  'init_args_logging_level',
  'init_args_log_to_driver',
] as const

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
      elapsed: elapsedSeconds(run, now),
    })),
    archived: federation.archived,
    simulation: federation.simulation,
    'simulation-config': Object.fromEntries(simulationFields.map((field) => [field, null])),
  }
}

/** What a SuperLink with managed federations does; ours answers that it has but one. */
function managed(
  context: CliContext,
  name: string,
  parameters: readonly string[],
  call: (client: ControlClient, values: readonly string[]) => Promise<unknown>,
): Command {
  const command = new Command(name).description('needs a SuperLink with federation management')
  for (const parameter of parameters) command.argument(parameter)
  return command
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action(async (...args: unknown[]) => {
      const values = args.slice(0, parameters.length) as string[]
      const connectionName = args[parameters.length] as string | undefined
      const { format } = args[parameters.length + 1] as { format: string }
      context.status = await runCommand(format, async (output) => {
        using control = openControl(connectionName, output.note)
        await call(control.client, values)
        return { json: { success: true } }
      })
    })
}
