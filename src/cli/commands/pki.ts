import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { basename, join } from 'node:path'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import type { Certificate } from '../../identity/certificate.ts'
import { type Issued, issue } from '../../identity/pki.ts'
import { readCertificates, readClientTls, readTextFile } from '../../identity/tls-files.ts'
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
        for (const ip of options.ip)
          if (isIP(ip) === 0) throw new UsageError(`--ip: '${ip}' is not an IP address: give host names with --dns.`)
        for (const [flag, value] of [
          ['--uri', uri ?? 'urn:x'] as const,
          ...options.dns.map((dns) => ['--dns', dns] as const),
        ])
          if (!/^[!-~]+$/.test(value)) throw new UsageError(`${flag}: '${value}' must be ASCII without spaces.`)
        if (uri !== undefined && !URL.canParse(uri))
          throw new UsageError(`--uri: '${uri}' is not a URI, e.g. spiffe://fl.example/supernode/1.`)
        const ca = readCa(directory, options.ca)
        const notAfter = Math.min(validity.notAfter.getTime(), ca.certificate.notAfter)
        if (notAfter < validity.notAfter.getTime())
          output.note(`The certificate ends with its CA, on ${new Date(notAfter).toISOString()}.`)
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
            notBefore: validity.notBefore,
            notAfter: new Date(notAfter),
          },
          ca.issued,
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
          readCertificates({ flag: 'flwr pki show', path }).map((one) => certificateText(path, one, Date.now())),
        )
        output.say(texts.join('\n\n'))
        return undefined
      })
    })
}

function readCa(directory: string, file: string): { issued: Issued; certificate: Certificate } {
  const paths = { certificate: join(directory, `${file}.crt`), key: join(directory, `${file}.key`) }
  const missing = Object.values(paths).find((path) => !existsSync(path))
  if (missing !== undefined)
    throw new UsageError(
      `There is no CA in ${directory} (${basename(missing)} is missing): make one with flwr pki init ${directory}.`,
    )
  const certfile = { flag: '--ca', path: paths.certificate }
  const [certificate] = readCertificates(certfile)
  if (!certificate.isCa) throw new UsageError(`--ca: ${paths.certificate} is not the certificate of a CA.`)
  const now = Date.now()
  if (certificate.notAfter <= now)
    throw new UsageError(
      `The CA in ${paths.certificate} has expired: make another with flwr pki init --force ${directory}.`,
    )
  const { material } = readClientTls({
    ...{
      roots: undefined,
      certfile,
      keyfile: { flag: '--ca', path: paths.key },
      now: Math.max(now, certificate.notBefore),
    },
  })
  const keyPem = material.certificate?.keyPem as string
  return { issued: { certificatePem: readTextFile(certfile), keyPem }, certificate }
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
  try {
    mkdirSync(directory, { recursive: true })
    // Removed first: a file that is replaced keeps its permissions.
    for (const path of Object.values(paths)) rmSync(path, { force: true })
    writeFileSync(paths.key, made.keyPem, { mode: 0o600, flag: 'wx' })
    writeFileSync(paths.certificate, made.certificatePem, { flag: 'wx' })
  } catch (cause) {
    const { code, path = directory } = cause as NodeJS.ErrnoException
    throw new UsageError(`${path} cannot be written (${code}): choose another folder.`, { cause })
  }
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
