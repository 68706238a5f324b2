import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { NodeInfo } from '../../gen/flwr/proto/node_pb.ts'
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
import { float, type Json, runCommand } from '../output.ts'
import { findNodeId } from '../short-ids.ts'
import { type Column, table, tableWidth } from '../table.ts'
import { durationText, instantText, secondsBetween } from '../units.ts'
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
          output.say(
            nodeTable(
              nodes.filter((node) => options.verbose || node.status !== 'unregistered' || node.admission === 'blocked'),
              now,
              tableWidth(options.wide),
            ),
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

function nodeTable(nodes: readonly NodeInfo[], now: string, width: number): string {
  if (nodes.length === 0) return 'There are no SuperNodes.'
  const certificates = nodes.some((node) => node.authMethod === 'certificate')
  const named = nodes.some((node) => node.name)
  const header: Column[] = [
    { title: 'Node ID', isId: true },
    ...(named ? [{ title: 'Name' }] : []),
    { title: 'Owner', rank: 5 },
    { title: 'Status', styleOf: nodeStyle },
    { title: 'Elapsed', rank: 4 },
    { title: 'Status Changed @', rank: 3 },
  ]
  if (certificates)
    header.push(
      { title: 'Identity', rank: named ? 2 : 0 },
      { title: 'Organization', rank: 6 },
      { title: 'Auth', rank: 7 },
      { title: 'Serial', rank: 8 },
      { title: 'Certificate Expires', rank: 1 },
    )
  const rows = nodes.map((node) => [
    node.nodeId.toString(),
    ...(named ? [node.name ?? ''] : []),
    node.ownerName,
    admissionText(node),
    node.status === 'online' ? durationText(secondsBetween(node.lastActivatedAt, now)) : '',
    instantText(changedAt(node)),
    ...(certificates
      ? [
          node.identity ?? '',
          node.organization ?? '',
          node.authMethod ?? '',
          node.certificateSerial ?? '',
          expiryText(node, now),
        ]
      : []),
  ])
  return table(header, rows, width)
}

function nodeStyle(status: string): 'green' | 'red' | 'yellow' {
  if (/blocked|unregistered/.test(status)) return 'red'
  return status === 'online' ? 'green' : 'yellow'
}

/** E.g. `online (draining)`. */
function admissionText({ status, admission = 'open' }: NodeInfo): string {
  return admission === 'open' ? status : `${status} (${admission})`
}

function changedAt(node: NodeInfo): string | undefined {
  if (node.status === 'online') return node.lastActivatedAt
  if (node.status === 'offline') return node.lastDeactivatedAt
  return node.status === 'unregistered' ? node.unregisteredAt : undefined
}

function expiresAt({ certificateNotAfter }: NodeInfo): string | undefined {
  return certificateNotAfter === undefined ? undefined : new Date(certificateNotAfter * 1000).toISOString()
}

function expiryText(node: NodeInfo, now: string): string {
  const at = expiresAt(node)
  if (at === undefined) return ''
  const seconds = secondsBetween(now, at)
  const when = seconds > 0 ? `in ${durationText(seconds)}` : 'expired'
  return `${instantText(at)} (${when}${node.renewalFailing ? ', renewal fails' : ''})`
}

/** Whole days; negative once it has expired. */
function daysLeft(node: NodeInfo, now: string): number | null {
  const at = expiresAt(node)
  return at === undefined ? null : Math.floor(secondsBetween(now, at) / 86_400)
}

function nodeToJson(node: NodeInfo, now: string): Json {
  return {
    'node-id': node.nodeId.toString(),
    'owner-aid': node.ownerAid,
    'owner-name': node.ownerName,
    status: node.status,
    'created-at': instantText(node.registeredAt),
    'online-at': instantText(node.lastActivatedAt),
    'online-elapsed': float(secondsBetween(node.lastActivatedAt, now)),
    'offline-at': instantText(node.lastDeactivatedAt),
    'deleted-at': instantText(node.unregisteredAt),
    name: node.name ?? null,
    admission: node.admission ?? null,
    location: node.location ?? null,
    identity: node.identity ?? null,
    organization: node.organization ?? null,
    'auth-method': node.authMethod ?? null,
    'certificate-serial': node.certificateSerial ?? null,
    'certificate-expires-at': instantText(expiresAt(node)),
    'certificate-days-left': daysLeft(node, now),
    'certificate-renewal': node.renewalFailing ? 'failing' : null,
  }
}
