import { Command } from 'commander'
import type { Invitation } from '../../gen/flwr/proto/federation_pb.ts'
import { type CliContext, connectionArgument, formatOption } from '../command.ts'
import { openControl } from '../connect.ts'
import { type Json, runCommand } from '../output.ts'
import { table } from '../table.ts'
import { instantText } from '../units.ts'

/** `flwr federation invite list` */
export function listInvitationsCommand(context: CliContext): Command {
  return new Command('list')
    .alias('ls')
    .description('list the invitations that you sent and received')
    .argument(...connectionArgument)
    .option('-v, --verbose', 'also list accepted and rejected invitations')
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: { verbose?: boolean; format: string }) => {
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const { createdInvitations, receivedInvitations } = await control.client.listInvitations({})
        const shown = (all: readonly Invitation[]): Invitation[] =>
          all.filter(({ status }) => options.verbose || status === 'pending')
        const [created, received] = [shown(createdInvitations), shown(receivedInvitations)]
        output.say(invitationTable('Created Invitations', 'Invited', created))
        output.say(invitationTable('Received Invitations', 'Invited By', received))
        output.answer({
          success: true,
          'created-invitations': created.map((one) => ({ ...toJson(one), invited: one.invitee?.name ?? '' })),
          'received-invitations': received.map((one) => ({ ...toJson(one), 'invited-by': one.inviter?.name ?? '' })),
        })
        return undefined
      })
    })
}

function invitationTable(title: string, other: 'Invited' | 'Invited By', invitations: readonly Invitation[]): string {
  const rows = invitations.map((one) => [
    one.federationName,
    (other === 'Invited' ? one.invitee : one.inviter)?.name ?? '',
    one.status,
    instantText(one.createdAt),
    instantText(one.statusChangedAt),
  ])
  return `${title}\n${table(['Federation', other, 'Status', 'Created @', 'Status Changed @'], rows)}`
}

function toJson(one: Invitation): { readonly [key: string]: Json } {
  return {
    'federation-name': one.federationName,
    'federation-id': one.federationName,
    status: one.status,
    'created-at': instantText(one.createdAt),
    'status-changed-at': instantText(one.statusChangedAt),
  }
}
