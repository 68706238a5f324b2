import { Command } from 'commander'
import { type CliContext, connectionArgument, formatOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { type Json, runCommand } from '../output.ts'

/** What a SuperLink with managed federations does; ours answers that it has but one. */
export function managementCommands(context: CliContext): Command[] {
  const named = (federationName: string): Json => ({ success: true, name: federationName })
  const done = { success: true }
  return [
    managed(context, 'create', ['<name>'], async (client, [federationName = '']) => {
      const { federation } = await client.createFederation({ federationName })
      return named(federation?.name ?? federationName)
    }),
    managed(context, 'archive', ['<federation>'], async (client, [federationName = '']) => {
      await client.archiveFederation({ federationName })
      return named(federationName)
    }),
    managed(context, 'add-supernode', ['<node-id>', '<federation>'], async (client, [id = '', federationName = '']) => {
      await client.addNodeToFederation({ nodeId: parseId(id, 'NODE_ID'), federationName })
      return done
    }),
    managed(
      context,
      'remove-supernode',
      ['<node-id>', '<federation>'],
      async (client, [id = '', federationName = '']) => {
        await client.removeNodeFromFederation({ nodeId: parseId(id, 'NODE_ID'), federationName })
        return done
      },
    ),
  ]
}

function managed(
  context: CliContext,
  name: string,
  parameters: readonly string[],
  call: (client: ControlClient, values: readonly string[]) => Promise<Json>,
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
      context.status = await runCommand(context, format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const answer = await call(control.client, values)
        output.say(`Done: flwr federation ${name} ${values.join(' ')}`)
        output.answer(answer)
        return undefined
      })
    })
}
