import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { ShowCallerResponse } from '../../gen/flwr/proto/control_pb.ts'
import { type CreateCommand, connectionArgument, formatOption } from '../command.ts'
import { openControl } from '../connect.ts'
import type { ConnectionProfile } from '../flower-config.ts'
import { type Json, runCommand } from '../output.ts'
import { isUnknownMethod } from '../rpc-sentences.ts'
import { details } from '../table.ts'
import { durationText, instantText, secondsBetween } from '../units.ts'

export const whoamiCommand: CreateCommand = (context) =>
  new Command('whoami')
    .description('show the identity that the SuperLink reads from your certificate, and what it may do')
    .argument(...connectionArgument)
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: { format: string }) => {
      context.status = await runCommand(context, options.format, async (output) => {
        using control = await openControl(context, connectionName, output)
        const caller = await control.client.showCaller({}).catch((error: unknown) => {
          throw isUnknownMethod(error) ? new UsageError(noAnswer(control.connection), { cause: error }) : error
        })
        output.say(callerText(caller, control.connection.name))
        output.answer(callerToJson(caller, control.connection.name))
        return undefined
      })
    })

const noAnswer = ({ name }: ConnectionProfile): string =>
  `The SuperLink of the connection '${name}' is one of Flower, or of an older release: it cannot say. Try flwr tls check ${name}.`

const runsSeen: Readonly<Record<string, string>> = {
  own: 'its own',
  organization: 'those of its organization',
  all: 'all',
}

/** Returns the identity of the caller as lines of names and values. */
export function callerText(caller: ShowCallerResponse, connection: string): string {
  const { authMethod, accountName, organization, roles, runScope } = caller
  if (authMethod !== 'certificate')
    return details([
      ['Connection', connection],
      ['Identity', 'none: this SuperLink requires no client certificate, so all users are one account'],
      ['Runs', 'all'],
    ])
  return details([
    ['Connection', connection],
    ['Identity', accountName],
    ...(organization ? ([['Organization', organization]] as const) : []),
    ['Role', roles.join(', ')],
    ['Runs', runsSeen[runScope] ?? runScope],
    ['Serial', caller.certificateSerial],
    ['Expires', expiryText(caller)],
  ])
}

function expiryText(caller: ShowCallerResponse): string {
  const at = expiresAt(caller)
  const seconds = secondsBetween(caller.now, at)
  return seconds > 0 ? `in ${durationText(seconds)}, on ${instantText(at)}` : `expired on ${instantText(at)}`
}

function expiresAt({ certificateNotAfter }: ShowCallerResponse): string {
  return new Date(certificateNotAfter * 1000).toISOString()
}

function callerToJson(caller: ShowCallerResponse, connection: string): Json {
  const isCertificate = caller.authMethod === 'certificate'
  return {
    success: true,
    connection,
    'auth-method': caller.authMethod,
    identity: isCertificate ? caller.accountName : null,
    organization: caller.organization || null,
    roles: caller.roles,
    runs: caller.runScope,
    'certificate-serial': caller.certificateSerial || null,
    'certificate-expires-at': isCertificate ? instantText(expiresAt(caller)) : null,
    'certificate-days-left': isCertificate ? Math.floor(secondsBetween(caller.now, expiresAt(caller)) / 86_400) : null,
  }
}
