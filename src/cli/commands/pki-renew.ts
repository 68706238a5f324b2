import { join } from 'node:path'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { issue, purposes, renewSelfSigned } from '../../identity/pki.ts'
import { readCertificates } from '../../identity/tls-files.ts'
import { type CliContext, formatOption } from '../command.ts'
import { type Output, runCommand } from '../output.ts'
import { readCa, replaceCertificate, validFor, writePair } from '../pki-files.ts'

interface Options {
  readonly directory: string
  readonly ca: string
  readonly days?: string
  readonly format: string
}

/**
 * `flwr pki renew NAME`: the same names with a new key, as controllers renew; the programs that use the files reload them. The CA
 * itself keeps its key, so that the certificates below it stay valid.
 */
export function renewCommand(context: CliContext): Command {
  return new Command('renew')
    .description('replace a certificate with a new one that has the same names and a new key; the CA keeps its key')
    .argument('<name>', 'name of the files of the certificate, or of the CA (ca)')
    .option('--directory <path>', 'folder of the CA and the certificate', 'certificates')
    .option('--ca <name>', 'name of the files of the CA', 'ca')
    .option('--days <count>', 'validity in days; by default 90, of the CA 365')
    .addOption(formatOption())
    .action(async (name: string, { directory, ca: caName, days, format }: Options) => {
      const isOfCa = name === caName
      const validity = validFor(days ?? (isOfCa ? '365' : '90'))
      context.status = await runCommand(context, format, async (output) => {
        if (isOfCa) return renewCa(output, directory, caName, validity)
        const path = join(directory, `${name}.pem`)
        const [{ subject, names, extendedKeyUsages, ocspUrls, isCa }] = readCertificates({
          flag: 'flwr pki renew',
          path,
        })
        const [commonName] = subject.commonNames
        if (isCa) throw new UsageError(`${path} is the certificate of a CA: make another with flwr pki init --force.`)
        const ca = readCa(directory, caName)
        const notAfter = Math.min(validity.notAfter.getTime(), ca.certificate.notAfter)
        const [organization] = subject.organizations
        const made = await issue(
          {
            ...(commonName === undefined ? {} : { commonName }),
            ...(organization === undefined ? {} : { organization }),
            units: subject.units,
            ...names,
            ...(ocspUrls[0] === undefined ? {} : { ocspUrl: ocspUrls[0] }),
            usages: (['client', 'server'] as const).filter((usage) => extendedKeyUsages?.includes(purposes[usage])),
            notBefore: validity.notBefore,
            notAfter: new Date(notAfter),
          },
          ca.issued,
        )
        writePair(output, directory, { certificate: `${name}.pem`, key: `${name}.key` }, made, true)
        return undefined
      })
    })
}

async function renewCa(
  output: Output,
  directory: string,
  name: string,
  validity: ReturnType<typeof validFor>,
): Promise<undefined> {
  const { issued, certificate } = readCa(directory, name, { evenExpired: true })
  if (certificate.subjectDer !== certificate.issuerDer)
    throw new UsageError(`Another CA has issued ${name}.crt: have it renewed there.`)
  const { certificatePem } = await renewSelfSigned(issued, validity)
  replaceCertificate(output, join(directory, `${name}.crt`), certificatePem)
  output.note('Put it in the place of the old one at the SuperLink and at all clients.')
}
