import { isIP } from 'node:net'
import { Command } from 'commander'
import { isHttpUrl } from '../../base/bounded-fetch.ts'
import { UsageError } from '../../base/errors.ts'
import { parseTag } from '../../base/node-tags.ts'
import { issue } from '../../identity/pki.ts'
import { type CliContext, type CreateCommand, collect, formatOption, group } from '../command.ts'
import { runCommand } from '../output.ts'
import { readCa, validFor, writePair } from '../pki-files.ts'
import { ocspCommand } from './pki-ocsp.ts'
import { renewCommand } from './pki-renew.ts'
import { crlCommand, revokeCommand } from './pki-revocation.ts'
import { showCommand } from './pki-show.ts'

const warning = 'This CA is for trying things out, not for production: its key lies in a file beside what it issued.'

export const pkiCommand: CreateCommand = (context) =>
  group('pki', 'a small local CA for trying out mutual TLS (not for production)', [
    init(context),
    issueCommand(context),
    renewCommand(context),
    revokeCommand(context),
    crlCommand(context),
    ocspCommand(context),
    showCommand(context),
  ])

interface InitOptions {
  readonly name: string
  readonly organization?: string
  readonly days: string
  readonly file: string
  readonly force?: boolean
  readonly format: string
}

function init(context: CliContext): Command {
  return new Command('init')
    .description('create a CA for trials: DIRECTORY/ca.crt and ca.key')
    .argument('[directory]', 'folder for the certificates', 'certificates')
    .option('--name <name>', 'common name of the CA', 'Trellis trial CA')
    .option('--organization <name>', 'organisation of the CA')
    .option('--file <name>', 'name of its files, for example client-ca for a separate CA for clients', 'ca')
    .option('--days <count>', 'validity in days', '365')
    .option('--force', 'replace existing files')
    .addOption(formatOption())
    .action(async (directory: string, options: InitOptions) => {
      const validity = validFor(options.days)
      context.status = await runCommand(context, options.format, async (output) => {
        const { name, organization } = options
        const made = await issue({ commonName: name, ...optional({ organization }), ca: true, ...validity })
        writePair(
          output,
          directory,
          { certificate: `${options.file}.crt`, key: `${options.file}.key` },
          made,
          options.force,
        )
        output.note(warning)
        return undefined
      })
    })
}

interface IssueOptions {
  readonly directory: string
  readonly ca: string
  readonly server?: boolean
  readonly organization?: string
  readonly tag: readonly string[]
  readonly uri?: string
  readonly dns: readonly string[]
  readonly ip: readonly string[]
  readonly ocspUrl?: string
  readonly days: string
  readonly force?: boolean
  readonly format: string
}

function issueCommand(context: CliContext): Command {
  return new Command('issue')
    .description('issue a certificate: DIRECTORY/NAME.pem and NAME.key')
    .argument('<name>', 'common name, and name of the files')
    .option('--directory <path>', 'folder of the CA and the certificates', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--server', 'issue a server certificate for a SuperLink; by default a client certificate')
    .option('--organization <name>', 'organisation in the certificate')
    .option('--tag <key=value>', 'tag of the SuperNode, as organisational unit (repeatable)', collect, [])
    .option('--uri <uri>', 'identity as a URI, for example spiffe://fl.example/supernode/1')
    .option('--dns <name>', 'host name (repeatable)', collect, [])
    .option('--ip <address>', 'IP address (repeatable)', collect, [])
    .option('--ocsp-url <url>', 'address of the OCSP responder to name in the certificate, see flwr pki ocsp')
    .option('--days <count>', 'validity in days', '90')
    .option('--force', 'replace existing files')
    .addOption(formatOption())
    .action(async (name: string, options: IssueOptions) => {
      const validity = validFor(options.days)
      context.status = await runCommand(context, options.format, async (output) => {
        if (!/^[A-Za-z0-9._-]+$/.test(name))
          throw new UsageError(`'${name}' cannot name a file: use letters, digits, points, hyphens and underscores.`)
        const { directory, server, organization, uri, ocspUrl } = options
        for (const ip of options.ip)
          if (isIP(ip) === 0) throw new UsageError(`--ip: '${ip}' is not an IP address: give host names with --dns.`)
        const noTag = options.tag.find((tag) => !parseTag(tag))
        if (noTag !== undefined) throw new UsageError(`--tag: '${noTag}' is not key=value, for example region=eu.`)
        for (const [flag, value] of [
          ['--uri', uri ?? 'urn:x'] as const,
          ...options.dns.map((dns) => ['--dns', dns] as const),
        ])
          if (!/^[!-~]+$/.test(value)) throw new UsageError(`${flag}: '${value}' must be ASCII without spaces.`)
        if (uri !== undefined && !URL.canParse(uri))
          throw new UsageError(`--uri: '${uri}' is not a URI, e.g. spiffe://fl.example/supernode/1.`)
        if (ocspUrl !== undefined && !isHttpUrl(ocspUrl))
          throw new UsageError(`--ocsp-url: '${ocspUrl}' is not an http or https URL.`)
        const ca = readCa(directory, options.ca)
        const notAfter = Math.min(validity.notAfter.getTime(), ca.certificate.notAfter)
        if (notAfter < validity.notAfter.getTime())
          output.note(`The certificate ends with its CA, on ${new Date(notAfter).toISOString()}.`)
        // No client can verify a server without names.
        const local = server && options.dns.length === 0 && options.ip.length === 0
        const made = await issue(
          {
            commonName: name,
            ...optional({ organization }),
            units: options.tag,
            ...(ocspUrl === undefined ? {} : { ocspUrl }),
            uris: uri === undefined ? [] : [uri],
            dns: local ? ['localhost'] : options.dns,
            ips: local ? ['127.0.0.1', '::1'] : options.ip,
            usages: [server ? 'server' : 'client'],
            notBefore: validity.notBefore,
            notAfter: new Date(notAfter),
          },
          ca.issued,
        )
        writePair(output, directory, { certificate: `${name}.pem`, key: `${name}.key` }, made, options.force)
        return undefined
      })
    })
}

function optional(fields: { organization: string | undefined }): { organization?: string } {
  return fields.organization === undefined ? {} : { organization: fields.organization }
}
