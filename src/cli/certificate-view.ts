import { oneLine } from '../base/printable.ts'
import type { Certificate } from '../identity/certificate.ts'
import { clientAuthOid, serverAuthOid } from '../identity/certificate.ts'
import { identityOf } from '../identity/judge.ts'
import { details } from './table.ts'
import { instantText } from './units.ts'

const usageNames: Readonly<Record<string, string>> = { [clientAuthOid]: 'clientAuth', [serverAuthOid]: 'serverAuth' }

/** What a certificate says, and which identity a SuperLink would read from it. */
export function certificateText(path: string, certificate: Certificate, now: number): string {
  const { names } = certificate
  const sans = [...names.uris, ...names.dns, ...names.emails, ...names.ips]
  const identity = certificate.isCa ? undefined : identityOf(certificate, 'auto')
  const daysLeft = Math.floor((certificate.notAfter - now) / 86_400_000)
  return details([
    ['File', path],
    ['Subject', oneLine(certificate.subject.text)],
    ['Issuer', oneLine(certificate.issuerText)],
    ['Kind', certificate.isCa ? 'CA' : 'end entity'],
    ...(identity
      ? ([
          ['Identity', 'name' in identity ? identity.name : oneLine(`none (${identity.about || identity.reason})`)],
        ] as const)
      : []),
    ['Organization', oneLine(certificate.subject.organizations[0] ?? '')],
    ['Other names', oneLine(sans.join(', '))],
    ['Key usage', certificate.keyUsages ? [...certificate.keyUsages].join(', ') : 'any'],
    ['Extended usage', certificate.extendedKeyUsages?.map((oid) => usageNames[oid] ?? oid).join(', ') ?? 'any'],
    [
      'Valid from',
      `${instantText(new Date(certificate.notBefore).toISOString())}${certificate.notBefore > now ? ' (not valid yet)' : ''}`,
    ],
    [
      'Valid until',
      `${instantText(new Date(certificate.notAfter).toISOString())} (${daysLeft < 0 ? 'expired' : `${daysLeft} days left`})`,
    ],
    ['Serial', certificate.serial],
    ['SHA-256', certificate.fingerprint],
  ])
}
