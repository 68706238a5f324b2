import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { NodeInfo } from '../../gen/flwr/proto/node_pb.ts'
import { type CliContext, connectionArgument, formatOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { runCommand } from '../output.ts'
import { isUnknownMethod } from '../rpc-sentences.ts'
import { findNodeId } from '../short-ids.ts'

/** `flwr supernode block`, `unblock` and `drain`: what a SuperNode may do from now on. */
const commands = {
  block: {
    admission: 'blocked',
    description: 'reject a SuperNode until it is unblocked, also with a new certificate',
    done: 'blocked: it is refused until flwr supernode unblock',
  },
  drain: {
    admission: 'draining',
    description: 'send a SuperNode no new messages, and accept its replies to earlier ones',
    done: 'drained: it gets no new messages until flwr supernode unblock',
  },
  unblock: {
    admission: 'open',
    description: 'return a blocked or drained SuperNode to work',
    done: 'unblocked',
  },
} as const

export function admissionCommands(context: CliContext): Command[] {
  return Object.entries(commands).map(([name, { admission, description, done }]) =>
    new Command(name)
      .description(`${description} (needs the role admin if SuperNodes have certificates)`)
      .argument('<node>', 'id, identity or name of the SuperNode')
      .argument(...connectionArgument)
      .addOption(formatOption())
      .action(async (text: string, connectionName: string | undefined, options: { format: string }) => {
        const id = /^\d+$/.test(text) ? parseId(text, 'NODE') : undefined
        context.status = await runCommand(context, options.format, async (output) => {
          using control = await openControl(context, connectionName, output)
          const nodeId =
            id === undefined ? await findNamedNode(control.client, text) : await findNodeId(control.client, id, 'NODE')
          await setAdmission(control.client, nodeId, admission)
          output.say(`SuperNode ${nodeId} ${done}.`)
          output.answer({ success: true, 'node-id': nodeId, admission })
          return undefined
        })
      }),
  )
}

/** Nodes that share an identity are blocked and drained together, so any of them stands for it. */
async function findNamedNode(client: ControlClient, text: string): Promise<bigint> {
  const { nodesInfo } = await client.listNodes({})
  const found = nodesInfo.filter(({ identity, name }) => identity === text || name === text)
  const [node] = found.toSorted((a, b) => Number(isGone(a)) - Number(isGone(b)))
  if (!node) throw new UsageError(`There is no SuperNode '${text}': see flwr supernode ls.`)
  const others = found.filter((other) => !isSameNode(other, node) && !isGone(other))
  if (others.length > 0)
    throw new UsageError(`'${text}' stands for more than one SuperNode: give the id from flwr supernode ls.`)
  return node.nodeId
}

function isGone({ status }: NodeInfo): boolean {
  return status === 'unregistered'
}

function isSameNode(a: NodeInfo, b: NodeInfo): boolean {
  if (a.nodeId === b.nodeId) return true
  return a.identity !== undefined && a.identity === b.identity && a.organization === b.organization
}

async function setAdmission(client: ControlClient, nodeId: bigint, admission: string): Promise<void> {
  try {
    await client.setNodeAdmission({ nodeId, admission })
  } catch (error) {
    if (!isUnknownMethod(error)) throw error
    throw new UsageError('This SuperLink cannot block or drain SuperNodes: only SuperLinks of Trellis can.', {
      cause: error,
    })
  }
}
