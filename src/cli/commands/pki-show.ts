import { Command } from 'commander'
import { oneLine } from '../../base/printable.ts'
import type { Certificate } from '../../identity/certificate.ts'
import { identityOf } from '../../identity/judge.ts'
import { isPem } from '../../identity/pem.ts'
import { type Crl, listedSerials } from '../../identity/revocation/crl.ts'
import { readCrls } from '../../identity/revocation/crls.ts'
import { readCertificates, readTextFile } from '../../identity/tls-files.ts'
import { certificateText } from '../certificate-view.ts'
import { type CliContext, formatOption } from '../command.ts'
import { type Json, runCommand } from '../output.ts'
import { details } from '../table.ts'
import { instantText } from '../units.ts'

const flag = 'flwr pki show'

/** `flwr pki show`: what certificates and revocation lists say. */
export function showCommand(context: CliContext): Command {
  return new Command('show')
    .description('show the contents of certificates and revocation lists')
    .argument('<files...>', 'PEM files')
    .addOption(formatOption())
    .action(async (files: string[], options: { format: string }) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const now = Date.now()
        const shown = (await Promise.all(files.map((path) => viewsOf(path, now)))).flat()
        output.say(shown.map(({ text }) => text).join('\n\n'))
        output.answer({ success: true, files: shown.map(({ json }) => json) })
        return undefined
      })
    })
}

async function viewsOf(path: string, now: number): Promise<{ text: string; json: Json }[]> {
  if (isList(path)) {
    const { crls } = await readCrls({ flag, path }, [], { now, checks: false })
    return crls.map((crl) => ({ text: crlText(path, crl, now), json: crlJson(path, crl) }))
  }
  return readCertificates({ flag, path }).map((one) => ({
    text: certificateText(path, one, now),
    json: certificateJson(path, one),
  }))
}

function isList(path: string): boolean {
  const text = readTextFile({ flag, path })
  return isPem(text) && text.includes('-----BEGIN X509 CRL-----')
}

function crlText(path: string, crl: Crl, now: number): string {
  const { nextUpdate } = crl
  const days = Math.floor((nextUpdate - now) / 86_400_000)
  const serials = listedSerials(crl)
  return details([
    ['File', path],
    ['Kind', 'revocation list'],
    ['Issuer', oneLine(crl.issuerText)],
    ['Number', crl.number === undefined ? 'none' : String(crl.number)],
    ['Made', instantText(new Date(crl.thisUpdate).toISOString())],
    ['Next due', `${instantText(new Date(nextUpdate).toISOString())} (${days < 0 ? 'late' : `in ${days} days`})`],
    [
      'Revoked',
      `${serials.length}${serials.length > 0 ? `: ${serials.slice(0, 20).join(', ')}` : ''}${serials.length > 20 ? ', …' : ''}`,
    ],
  ])
}

function crlJson(path: string, crl: Crl): Json {
  return {
    file: path,
    kind: 'revocation-list',
    issuer: crl.issuerText,
    number: crl.number ?? null,
    'this-update': new Date(crl.thisUpdate).toISOString(),
    'next-update': new Date(crl.nextUpdate).toISOString(),
    revoked: listedSerials(crl),
  }
}

function certificateJson(path: string, certificate: Certificate): Json {
  const identity = certificate.isCa ? undefined : identityOf(certificate, 'auto')
  return {
    file: path,
    kind: certificate.isCa ? 'ca' : 'end-entity',
    subject: certificate.subject.text,
    issuer: certificate.issuerText,
    identity: identity && 'name' in identity ? identity.name : null,
    organization: certificate.subject.organizations[0] ?? null,
    serial: certificate.serial,
    fingerprint: certificate.fingerprint,
    'not-before': new Date(certificate.notBefore).toISOString(),
    'not-after': new Date(certificate.notAfter).toISOString(),
    uris: certificate.names.uris,
    dns: certificate.names.dns,
    ips: certificate.names.ips,
    emails: certificate.names.emails,
  }
}
