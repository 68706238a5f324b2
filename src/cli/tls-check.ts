import { UsageError } from '../base/errors.ts'
import { oneLine } from '../base/printable.ts'
import type { RefusalReason } from '../identity/caller.ts'
import { allowsClientAuth, type Certificate, serverAuthOid } from '../identity/certificate.ts'
import { type ClientTrust, readClientTrust } from '../identity/client-trust.ts'
import { identityOf, judge } from '../identity/judge.ts'
import { refusalSentence } from '../identity/refusal-sentence.ts'
import { expiredCas, type FileFlag, readCertificates, readClientTls, readServerTls } from '../identity/tls-files.ts'
import { isIssuer } from '../identity/trust.ts'
import { instantText } from './units.ts'

/** The links of the chain of causes, in the order in which they are looked at. */
export type Link =
  | 'file'
  | 'dates'
  | 'chain'
  | 'usage'
  | 'name'
  | 'revocation'
  | 'address'
  | 'handshake'
  | 'clock'
  | 'answer'

export interface Step {
  readonly link: Link
  readonly outcome: 'ok' | 'warning' | 'broken'
  /** What was found; for a broken link the cause and what would help. */
  readonly detail: string
}

/** The steps so far. The first that fails ends the check, because later steps depend on it. */
export class Checklist {
  readonly steps: Step[] = []

  get isBroken(): boolean {
    return this.steps.at(-1)?.outcome === 'broken'
  }

  note(link: Link, detail: string, outcome: Step['outcome'] = 'ok'): void {
    // It may hold names from a certificate.
    this.steps.push({ link, outcome, detail: oneLine(detail) })
  }

  /** Does a step; a UsageError (or what `explain` makes of an error) is a broken link. Returns whether it holds. */
  async holds(
    link: Link,
    body: () => unknown,
    explain: (error: unknown) => unknown = (error) => error,
  ): Promise<boolean> {
    try {
      await body()
      return true
    } catch (thrown) {
      const error = explain(thrown)
      if (!(error instanceof UsageError)) throw thrown
      this.note(link, error.message, 'broken')
      return false
    }
  }
}

export interface OfflineFiles {
  readonly certfile: FileFlag
  readonly keyfile: FileFlag | undefined
  readonly ca: FileFlag | undefined
  readonly crl: FileFlag | undefined
}

const soonMs = 7 * 86_400_000

/** The files of a SuperNode or of a person, judged as a SuperLink would judge them. */
export async function checkClientFiles(list: Checklist, files: OfflineFiles, now: number): Promise<void> {
  const [leaf] = (await read(list, files.certfile)) ?? []
  if (!leaf) return
  const { certfile, keyfile } = files
  // Dates are a link of their own, with a sentence of their own.
  const within = Math.min(Math.max(now, leaf.notBefore + 1), leaf.notAfter - 1)
  if (keyfile) {
    const pair = await list.holds('file', () => {
      const { warnings } = readClientTls({ roots: undefined, certfile, keyfile, now: within })
      for (const warning of warnings) list.note('file', warning, 'warning')
    })
    if (!pair) return
    list.note('file', `${certfile.path} and ${keyfile.path} belong together.`)
  }
  if (!checkDates(list, leaf, now)) return
  const trusted = files.ca ? await trustOf(list, files.ca, files.crl, now) : undefined
  if (files.ca && (!trusted || !(await checkCas(list, files.ca, now)))) return
  if (!trusted) return checkByItself(list, leaf)
  const chain = readCertificates(certfile).map(({ der }) => der)
  const verdict = judge({ chain, ...trusted, now, requireCertificate: true })
  if (verdict.kind === 'refused') return list.note(linkOf(verdict.reason), verdict.sentence, 'broken')
  if (verdict.kind !== 'certificate') return
  list.note('chain', `It is signed by a CA of ${files.ca?.path}.`)
  list.note('usage', 'It may be used by a client.')
  list.note('name', `Its identity is '${verdict.identity}'${organizationText(verdict.organization)}.`)
  if (files.crl) list.note('revocation', 'It is not revoked.')
}

/** Checks the files of a SuperLink as a client would. */
export async function checkServerFiles(list: Checklist, files: OfflineFiles, now: number): Promise<void> {
  const [leaf, ...issuers] = (await read(list, files.certfile)) ?? []
  if (!leaf) return
  const { certfile, keyfile, ca } = files
  if (keyfile) {
    const pair = await list.holds('file', () => {
      for (const warning of readServerTls({ certfile, keyfile, caFile: ca ?? certfile, now: leaf.notBefore }).warnings)
        list.note('file', warning, 'warning')
    })
    if (!pair) return
    list.note('file', `${certfile.path} and ${keyfile.path} belong together.`)
  }
  if (!checkDates(list, leaf, now)) return
  if (ca) {
    const cas = await read(list, ca)
    if (!cas) return
    const isSigned = leadsTo(leaf, issuers, cas)
    const sentence = `The certificate is not signed by a CA in ${ca.path}${issuers.length === 0 ? '; if an intermediate signed it, append that to the certificate file' : ''}: clients that trust that CA will not connect.`
    list.note('chain', isSigned ? `It is signed by a CA of ${ca.path}.` : sentence, isSigned ? 'ok' : 'broken')
    if (!isSigned || !(await checkCas(list, ca, now))) return
  }
  const mayServe = !leaf.extendedKeyUsages || leaf.extendedKeyUsages.includes(serverAuthOid)
  list.note(
    'usage',
    mayServe
      ? 'It may be used by a server.'
      : 'The certificate lacks extended key usage serverAuth: with cert-manager add `usages: [server auth]`.',
    mayServe ? 'ok' : 'broken',
  )
  if (!mayServe) return
  const names = [...leaf.names.dns, ...leaf.names.ips]
  list.note(
    'name',
    names.length > 0
      ? `Clients reach it as ${names.join(', ')}.`
      : 'The certificate has no host name or address as subject alternative name: no client will take it for the server that it connects to.',
    names.length > 0 ? 'ok' : 'broken',
  )
}

/** Returns whether a CA of the file has not expired; one that has is noted. */
export async function checkCas(list: Checklist, file: FileFlag, now: number): Promise<boolean> {
  const cas = await read(list, file)
  if (!cas) return false
  const expired = expiredCas(file, cas, now, 'certificates of it are rejected')
  const areAll = expired.length === cas.length
  for (const sentence of expired) list.note('dates', sentence, areAll ? 'broken' : 'warning')
  for (const { isCa, notAfter, subject } of cas)
    if (isCa && notAfter > now && notAfter - now < soonMs)
      list.note(
        'dates',
        `The CA ${subject.text} in ${file.path} expires on ${dateText(notAfter)}: renew it soon.`,
        'warning',
      )
  return !areAll
}

/** Whether the certificate is good now; a broken or a soon broken link is noted. */
export function checkDates(list: Checklist, { notBefore, notAfter }: Certificate, now: number): boolean {
  if (now < notBefore)
    list.note(
      'dates',
      `The certificate is not valid before ${dateText(notBefore)}: is the clock of this machine right?`,
      'broken',
    )
  else if (now > notAfter)
    list.note('dates', `The certificate has expired on ${dateText(notAfter)}: renew it.`, 'broken')
  else if (notAfter - now < soonMs) list.note('dates', `It expires on ${dateText(notAfter)}: renew it soon.`, 'warning')
  else list.note('dates', `It is valid until ${dateText(notAfter)}.`)
  return !list.isBroken
}

const dateText = (at: number): string => instantText(new Date(at).toISOString())

async function read(list: Checklist, file: FileFlag): Promise<Certificate[] | undefined> {
  let found: Certificate[] | undefined
  await list.holds('file', () => {
    found = readCertificates(file)
  })
  return found
}

async function trustOf(list: Checklist, ca: FileFlag, crl: FileFlag | undefined, now: number) {
  let trusted: ClientTrust | undefined
  await list.holds(crl ? 'revocation' : 'file', async () => {
    trusted = (await readClientTrust({ ca, policy: undefined, crl }, now)).value
  })
  return trusted
}

/** Without a CA: what the certificate says of itself. */
function checkByItself(list: Checklist, leaf: Certificate): void {
  const fault: RefusalReason | undefined = leaf.isCa
    ? 'ca-used-as-client'
    : leaf.keyUsages && !leaf.keyUsages.has('digitalSignature')
      ? 'wrong-key-usage'
      : allowsClientAuth(leaf)
        ? undefined
        : 'wrong-extended-key-usage'
  if (fault) {
    list.note('usage', refusalSentence(fault), 'broken')
    return
  }
  list.note('usage', 'It may be used by a client.')
  const identity = identityOf(leaf, 'auto')
  if ('reason' in identity) {
    list.note('name', refusalSentence(identity.reason, identity.about), 'broken')
    return
  }
  list.note('name', `Its identity is '${identity.name}'${organizationText(leaf.subject.organizations[0] ?? '')}.`)
}

function organizationText(organization: string): string {
  return organization === '' ? '' : ` of '${organization}'`
}

function linkOf(reason: RefusalReason): Link {
  if (reason === 'malformed-certificate' || reason === 'no-certificate') return 'file'
  if (reason === 'certificate-expired' || reason === 'certificate-not-yet-valid') return 'dates'
  if (reason.startsWith('wrong-') || reason === 'ca-used-as-client') return 'usage'
  if (reason === 'no-identity' || reason === 'ambiguous-identity') return 'name'
  return reason.startsWith('revo') ? 'revocation' : 'chain'
}

function leadsTo(leaf: Certificate, issuers: readonly Certificate[], cas: readonly Certificate[]): boolean {
  let current: Certificate | undefined = leaf
  for (let steps = 0; current && steps <= issuers.length; steps++) {
    const certificate: Certificate = current
    if (cas.some((ca) => ca.isCa && isIssuer(ca, certificate))) return true
    current = issuers.find((one) => one !== certificate && one.isCa && isIssuer(one, certificate))
  }
  return false
}
