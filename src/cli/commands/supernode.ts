import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { readOpensshPublicKey } from '../../identity/openssh-key.ts'
import {
  type CliContext,
  type CreateCommand,
  connectionArgument,
  formatOption,
  group,
  parseId,
  wideOption,
} from '../command.ts'
import { openControl } from '../connect.ts'
import { nodeTable, nodeToJson } from '../node-table.ts'
import { runCommand } from '../output.ts'
import { findNodeId } from '../short-ids.ts'
import { tableWidth } from '../table.ts'
import { admissionCommands } from './supernode-admission.ts'

export const supernodeCommand: CreateCommand = (context) =>
  group('supernode', 'the SuperNodes of a SuperLink', [
    list(context),
    register(context),
    unregister(context),
    ...admissionCommands(context),
  ])

function list(context: CliContext): Command {
  return new Command('list')
    .alias('ls')
    .description('list SuperNodes with their authentication method and the expiry of their certificates')
    .argument(...connectionArgument)
    .option('-v, --verbose', 'also list unregistered SuperNodes')
    .addOption(wideOption())
    .addOption(formatOption())
    .action(
      async (connectionName: string | undefined, options: { verbose?: boolean; wide?: boolean; format: string }) => {
        context.status = await runCommand(context, options.format, async (output) => {
          using control = await openControl(context, connectionName, output)
          const { nodesInfo, now } = await control.client.listNodes({})
          const nodes = nodesInfo.toSorted((a, b) => (a.registeredAt < b.registeredAt ? -1 : 1))
          const shown = nodes.filter(
            (node) => options.verbose || node.status !== 'unregistered' || node.admission === 'blocked',
          )
          output.say(nodeTable(shown, now, tableWidth(options.wide)))
          if (nodes.length === 0 && control.connection.local)
            output.note(
              `The connection '${control.connection.name}' is a SuperLink on this machine that simulates the SuperNodes of each run. For another SuperLink: flwr supernode ls NAME.`,
            )
          output.answer({ success: true, nodes: nodes.map((node) => nodeToJson(node, now)) })
          return undefined
        })
      },
    )
}

interface RegisterOptions {
  readonly location?: string
  readonly name?: string
  readonly format: string
}

function register(context: CliContext): Command {
  return new Command('register')
    .description('register the public key of a SuperNode (not needed if certificates are required)')
    .argument('<public-key>', 'file with an OpenSSH public key of a NIST curve')
    .argument(...connectionArgument)
    .option('--location <latitude,longitude>', 'location of the SuperNode, in degrees')
    .option('--name <name>', 'display name of the SuperNode')
    .addOption(formatOption())
    .action(async (path: string, connectionName: string | undefined, options: RegisterOptions) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const publicKey = Buffer.from(readKeyFile(path))
        using control = await openControl(context, connectionName, output)
        const { nodeId } = await control.client.registerNode({
          publicKey,
          ...(options.location === undefined ? {} : { location: options.location }),
          ...(options.name === undefined ? {} : { name: options.name }),
        })
        if (!nodeId) throw new UsageError('The SuperLink did not register the SuperNode: try again.')
        output.say(`SuperNode ${nodeId} registered successfully.`)
        output.answer({ success: true, 'node-id': nodeId })
        return undefined
      })
    })
}

function unregister(context: CliContext): Command {
  return new Command('unregister')
    .description('remove a SuperNode (one with a certificate can join again as a new one: use block to prevent this)')
    .argument('<node-id>')
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action(async (nodeIdText: string, connectionName: string | undefined, options: { format: string }) => {
      const given = parseId(nodeIdText, 'NODE_ID')
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const nodeId = await findNodeId(control.client, given, 'NODE_ID')
        await control.client.unregisterNode({ nodeId })
        output.say(`SuperNode ${nodeId} unregistered successfully.`)
        output.answer({ success: true, 'node-id': nodeId })
        return undefined
      })
    })
}

function readKeyFile(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(
      `The public key ${path} cannot be read (${(cause as NodeJS.ErrnoException).code}): give an OpenSSH .pub file.`,
      { cause },
    )
  }
  return readOpensshPublicKey(text, path)
}
