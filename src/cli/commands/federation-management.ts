import { Command } from 'commander'
import { type CliContext, connectionArgument, formatOption, group, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { type Json, runCommand } from '../output.ts'
import { listInvitationsCommand } from './invitations.ts'

/** What a SuperLink with managed federations does; ours says that it has only one. */
export function managementCommands(context: CliContext): Command[] {
  const node = (values: Values) => ({
    nodeId: parseId(values['node-id'], 'NODE_ID'),
    federationName: values.federation,
  })
  return [
    managed(context, 'create', ['<name>'], async (client, { name, options }) => {
      const { federation } = await client.createFederation({
        federationName: name,
        description: String(options.description ?? ''),
        simulation: options.simulation === true,
      })
      return named(federation?.name ?? name)
    })
      .option('--description <text>', 'purpose of the federation')
      .option('--simulation', 'simulate the runs of this federation'),
    managed(context, 'archive', ['<federation>'], async (client, { federation }) => {
      await client.archiveFederation({ federationName: federation })
      return named(federation)
    }),
    managed(context, 'add-supernode', ['<node-id>', '<federation>'], async (client, values) => {
      await client.addNodeToFederation(node(values))
    }),
    managed(context, 'remove-supernode', ['<node-id>', '<federation>'], async (client, values) => {
      await client.removeNodeFromFederation(node(values))
    }),
    managed(context, 'remove-account', ['<federation>', '[account-name]'], async (client, values) => {
      const accountName = values['account-name']
      await client.removeAccountFromFederation({
        federationName: values.federation,
        ...(accountName === undefined ? {} : { accountName }),
      })
    }),
    group('invite', 'invitations of accounts to federations', invitationCommands(context)),
  ]
}

function invitationCommands(context: CliContext): Command[] {
  const other = ({ account, federation }: Values) => ({ inviteeAccountName: account, federationName: federation })
  return [
    listInvitationsCommand(context),
    managed(context, 'create', ['<account>', '<federation>'], async (client, values) => {
      await client.createInvitation(other(values))
    }),
    managed(context, 'accept', ['<federation>'], async (client, { federation }) => {
      await client.acceptInvitation({ federationName: federation })
    }),
    managed(context, 'reject', ['<federation>'], async (client, { federation }) => {
      await client.rejectInvitation({ federationName: federation })
    }),
    managed(context, 'revoke', ['<account>', '<federation>'], async (client, values) => {
      await client.revokeInvitation(other(values))
    }),
  ]
}

/** Arguments by their name; commander has seen to it that those in angle brackets are there. */
interface Values {
  readonly name: string
  readonly federation: string
  readonly account: string
  readonly 'node-id': string
  readonly 'account-name'?: string
  readonly options: Readonly<Record<string, unknown>>
}

/** The two generations use different keys for it. */
function named(name: string): { readonly [key: string]: Json } {
  return { name, 'federation-id': name }
}

function managed(
  context: CliContext,
  name: string,
  parameters: readonly string[],
  call: (client: ControlClient, values: Values) => Promise<{ readonly [key: string]: Json } | undefined>,
): Command {
  const command = new Command(name).description('needs a SuperLink with federation management')
  for (const parameter of parameters) command.argument(parameter)
  return command
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action(async (...args: unknown[]) => {
      const texts = args.slice(0, parameters.length) as string[]
      const connectionName = args[parameters.length] as string | undefined
      const options = args[parameters.length + 1] as { format: string }
      const byName = Object.fromEntries(parameters.map((parameter, index) => [parameter.slice(1, -1), texts[index]]))
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const answer = await call(control.client, Object.assign(byName, { options }) as unknown as Values)
        output.say(`Done: ${[command.parent?.name(), name, ...texts.filter(Boolean)].join(' ')}`)
        output.answer({ success: true, ...answer })
        return undefined
      })
    })
}
