import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import { issueCrl } from '../../identity/pki-crl.ts'
import { readCertificates } from '../../identity/tls-files.ts'
import { isIssuer } from '../../identity/trust.ts'
import { type CliContext, formatOption } from '../command.ts'
import { type Output, runCommand } from '../output.ts'
import { readCa } from '../pki-files.ts'
import { type Register, readRegister, registerPath } from '../pki-register.ts'

/** Reasons of RFC 5280 section 5.3.1 by the words of OpenSSL. */
const reasons: Readonly<Record<string, number>> = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
}

interface Options {
  readonly directory: string
  readonly ca: string
  readonly days: string
  readonly reason: string
  readonly format: string
}

/** `flwr pki revoke NAME`: the list is written at once, for a SuperLink reads it again by itself. */
export function revokeCommand(context: CliContext): Command {
  return new Command('revoke')
    .description('revoke a certificate and write the revocation list: DIRECTORY/CA.crl')
    .argument('<name>', 'name of the files of the certificate')
    .option('--directory <path>', 'folder of the CA and the certificate', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--reason <word>', Object.keys(reasons).join(', '), 'unspecified')
    .option('--days <count>', 'days until the next list is due', '7')
    .addOption(formatOption())
    .action(async (name: string, options: Options) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const reason = reasons[options.reason]
        if (reason === undefined)
          throw new UsageError(`--reason: '${options.reason}' is none of ${Object.keys(reasons).join(', ')}.`)
        const path = join(options.directory, `${name}.pem`)
        const ca = readCa(options.directory, options.ca)
        const [certificate] = readCertificates({ flag: 'flwr pki revoke', path })
        if (!isIssuer(ca.certificate, certificate))
          throw new UsageError(`${path} was not issued by the CA in ${options.directory}: name its CA with --ca.`)
        const register = readRegister(options)
        const known = register.revoked.some(({ serial }) => serial === certificate.serial)
        const entry = { serial: certificate.serial, name, at: new Date().toISOString(), reason }
        const revoked = known ? register.revoked : [...register.revoked, entry]
        output.say(
          known
            ? `${name} was revoked before.`
            : `Revoked ${name}, serial ${certificate.serial}: a new one is issued with flwr pki renew ${name}.`,
        )
        await writeList(output, options, ca.issued, { ...register, revoked })
        return undefined
      })
    })
}

/** `flwr pki crl`: before the last list is too old. */
export function crlCommand(context: CliContext): Command {
  return new Command('crl')
    .description('write a new revocation list: DIRECTORY/CA.crl')
    .option('--directory <path>', 'folder of the CA', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--days <count>', 'days until the next list is due', '7')
    .addOption(formatOption())
    .action(async (options: Options) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const { issued } = readCa(options.directory, options.ca)
        await writeList(output, options, issued, readRegister(options))
        return undefined
      })
    })
}

async function writeList(
  output: Output,
  { directory, ca, days: daysText }: Options,
  issuer: Parameters<typeof issueCrl>[1],
  register: Register,
): Promise<void> {
  const days = wholeNumber(daysText, '--days', { min: 1, max: 3650 }) as number
  const now = Date.now()
  const next = { ...register, number: register.number + 1 }
  const pem = await issueCrl(
    {
      revoked: next.revoked.map(({ serial, at, reason }) => ({ serial, at: new Date(at), reason })),
      number: BigInt(next.number),
      thisUpdate: new Date(now - 60_000),
      nextUpdate: new Date(now + days * 86_400_000),
    },
    issuer,
  )
  const path = join(directory, `${ca}.crl`)
  // The register first: a number is never given twice.
  replaceFile(registerPath(directory, ca), `${JSON.stringify(next, undefined, 2)}\n`)
  replaceFile(path, pem)
  output.say(`Wrote ${path}: list ${next.number}, ${next.revoked.length} revoked, the next is due in ${days} days`)
  output.answer({ success: true, list: path, number: next.number, revoked: next.revoked.length, 'due-in-days': days })
}

/** A SuperLink that looks at this moment sees the old file or the new one. */
function replaceFile(path: string, text: string): void {
  try {
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  } catch (cause) {
    throw new UsageError(`${path} cannot be written (${(cause as NodeJS.ErrnoException).code}).`, { cause })
  }
}
