import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { errorText, UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import { parseCertificate } from '../../identity/certificate.ts'
import { pemCertificates } from '../../identity/pem.ts'
import { type Issued, issue } from '../../identity/pki.ts'
import { certificateText } from '../certificate-view.ts'
import { type CliContext, type CreateCommand, collect, group } from '../command.ts'
import { type Output, runCommand } from '../output.ts'

const warning = 'This CA is for trying things out, not for production: its key lies in a file and nothing is recorded.'

export const pkiCommand: CreateCommand = (context) =>
  group('pki', 'a small local CA for trying out mutual TLS (not for production)', [
    init(context),
    issueCommand(context),
    show(context),
  ])

interface InitOptions {
  readonly name: string
  readonly organization?: string
  readonly days: string
  readonly file: string
  readonly force?: boolean
}

function init(context: CliContext): Command {
  return new Command('init')
    .description('make a CA: DIRECTORY/ca.crt and ca.key')
    .argument('[directory]', 'where certificates go', 'certificates')
    .option('--name <name>', 'common name of the CA', 'Trellis trial CA')
    .option('--organization <name>', 'organisation of the CA')
    .option('--file <name>', 'name of its files, e.g. client-ca for a CA of its own for clients', 'ca')
    .option('--days <count>', 'how long it is valid', '365')
    .option('--force', 'replace what is there')
    .action(async (directory: string, options: InitOptions) => {
      const validity = validFor(options.days)
      context.status = await runCommand(context, 'default', async (output) => {
        const { name, organization } = options
        const made = await issue({ commonName: name, ...optional({ organization }), ca: true, ...validity })
        mkdirSync(directory, { recursive: true })
        write(
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
  readonly uri?: string
  readonly dns: readonly string[]
  readonly ip: readonly string[]
  readonly days: string
  readonly force?: boolean
}

function issueCommand(context: CliContext): Command {
  return new Command('issue')
    .description('issue a certificate: DIRECTORY/NAME.pem and NAME.key')
    .argument('<name>', 'common name, and name of the files')
    .option('--directory <path>', 'where the CA is and certificates go', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--server', "a SuperLink's certificate; without it, one for a SuperNode or a person")
    .option('--organization <name>', 'organisation of its holder')
    .option('--uri <uri>', 'identity as a URI, e.g. spiffe://fl.example/supernode/1')
    .option('--dns <name>', 'host name (repeatable)', collect, [])
    .option('--ip <address>', 'IP address (repeatable)', collect, [])
    .option('--days <count>', 'how long it is valid', '90')
    .option('--force', 'replace what is there')
    .action(async (name: string, options: IssueOptions) => {
      const validity = validFor(options.days)
      context.status = await runCommand(context, 'default', async (output) => {
        if (!/^[A-Za-z0-9._-]+$/.test(name))
          throw new UsageError(`'${name}' cannot name a file: use letters, digits, points, hyphens and underscores.`)
        const { directory, server, organization, uri } = options
        // A server without names can be reached by nobody.
        const local = server && options.dns.length === 0 && options.ip.length === 0
        const made = await issue(
          {
            commonName: name,
            ...optional({ organization }),
            uris: uri === undefined ? [] : [uri],
            dns: local ? ['localhost'] : options.dns,
            ips: local ? ['127.0.0.1', '::1'] : options.ip,
            usages: [server ? 'server' : 'client'],
            ...validity,
          },
          readCa(directory, options.ca),
        )
        write(output, directory, { certificate: `${name}.pem`, key: `${name}.key` }, made, options.force)
        return undefined
      })
    })
}

function show(context: CliContext): Command {
  return new Command('show')
    .description('show what certificates say')
    .argument('<files...>', 'PEM files')
    .action(async (files: string[]) => {
      context.status = await runCommand(context, 'default', async (output) => {
        const texts = files.flatMap((path) =>
          readCertificates(path).map((one) => certificateText(path, one, Date.now())),
        )
        output.say(texts.join('\n\n'))
        return undefined
      })
    })
}

function readCertificates(path: string): ReturnType<typeof parseCertificate>[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause })
  }
  const found = pemCertificates(text)
  if (found.length === 0) throw new UsageError(`${path} holds no certificate.`)
  try {
    return found.map(parseCertificate)
  } catch (cause) {
    throw new UsageError(`A certificate in ${path} cannot be read (${errorText(cause)}).`, { cause })
  }
}

function readCa(directory: string, file: string): Issued {
  const read = (name: string): string => {
    try {
      return readFileSync(join(directory, name), 'utf8')
    } catch (cause) {
      throw new UsageError(
        `There is no CA in ${directory} (${name} is missing): make one with flwr pki init ${directory}.`,
        {
          cause,
        },
      )
    }
  }
  return { certificatePem: read(`${file}.crt`), keyPem: read(`${file}.key`) }
}

function write(
  output: Output,
  directory: string,
  names: { certificate: string; key: string },
  made: Issued,
  force: boolean | undefined,
): void {
  const paths = { certificate: join(directory, names.certificate), key: join(directory, names.key) }
  for (const path of Object.values(paths)) {
    if (!force && existsSync(path)) throw new UsageError(`${path} is there already: give --force to replace it.`)
  }
  writeFileSync(paths.certificate, made.certificatePem)
  writeFileSync(paths.key, made.keyPem, { mode: 0o600 })
  output.say(`Wrote ${paths.certificate} and ${paths.key}`)
}

/** From five minutes ago, because clocks differ. */
function validFor(daysText: string): { notBefore: Date; notAfter: Date } {
  const days = wholeNumber(daysText, '--days', { min: 1, max: 36_500 }) as number
  const now = Date.now()
  return { notBefore: new Date(now - 5 * 60_000), notAfter: new Date(now + days * 86_400_000) }
}

function optional(fields: { organization: string | undefined }): { organization?: string } {
  return fields.organization === undefined ? {} : { organization: fields.organization }
}
