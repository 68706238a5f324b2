import type { Certificate } from '../../identity/certificate.ts'
import type { SuperlinkContext } from '../context.ts'
import * as nodeStore from '../nodes/node-store.ts'
import type { EventData } from './event-catalog.ts'

type Ctx = Pick<SuperlinkContext, 'db' | 'clock' | 'events' | 'security'>
type Kind = EventData<'certificate.expiring'>['kind']

interface Ending {
  readonly kind: Kind
  /** Tells one certificate from the next of the same name. */
  readonly key: string
  readonly subject: string
  readonly serial?: string
  readonly node?: string
  readonly at: number
}

const dayMs = 24 * 3_600_000
const warnedDays = [30, 14, 7, 3, 1, 0] as const
const lookEveryMs = 10_000
const looksBetweenNodes = 60

/**
 * Reports certificates and lists that come closer to their end, renewals of the server certificate, and files that are not
 * good. An event is due when time passes a mark while the SuperLink looks: a certificate that was shorter from the start, as
 * those of a day, is none of its business until it has expired.
 */
export class CertificateEvents {
  readonly #ctx: Ctx
  /** Why the certificates in use are not those in their files; one sentence for each set of files. */
  readonly #troubles: () => readonly string[]
  /** How many marks each certificate has passed. */
  #passed = new Map<string, number>()
  #knownTroubles = new Set<string>()
  #serials: ReadonlySet<string> | undefined

  constructor(ctx: Ctx, troubles: () => readonly string[]) {
    this.#ctx = ctx
    this.#troubles = troubles
  }

  /** Background job. */
  async run(signal: AbortSignal): Promise<void> {
    for (let looks = 0; !signal.aborted; looks++) {
      await this.lookAtFiles()
      if (looks % looksBetweenNodes === 0) await this.lookAtEnds()
      await this.#ctx.clock.sleep(lookEveryMs, signal).catch(() => {})
    }
  }

  async lookAtFiles(): Promise<void> {
    const { events, security } = this.#ctx
    const { own } = security.certificates()
    const before = this.#serials
    this.#serials = new Set(own.map(({ serial }) => serial))
    for (const certificate of own) {
      if (!before || before.has(certificate.serial)) continue
      const expires = new Date(certificate.notAfter).toISOString()
      const subject = certificate.subject.text
      await events.recordAlone('certificate.renewed', {
        sentence: `The SuperLink has a new certificate, ${subject}, until ${expires}.`,
        ...{ kind: 'server', subject, serial: certificate.serial, expires },
      })
    }
    const troubles = this.#troubles()
    for (const sentence of troubles) {
      if (this.#knownTroubles.has(sentence)) continue
      const [, files = ''] = /^The (.*?) in use /.exec(sentence) ?? []
      await events.recordAlone('certificate.renewal-failing', { sentence, files, details: sentence })
    }
    this.#knownTroubles = new Set(troubles)
  }

  async lookAtEnds(): Promise<void> {
    const { events, clock } = this.#ctx
    const now = clock.now()
    const passed = new Map<string, number>()
    for (const ending of await this.#listEndings(now)) {
      const { kind, key, subject, serial, node, at } = ending
      const marks = kind === 'crl' ? [0] : warnedDays
      const count = marks.filter((days) => at - now <= days * dayMs).length
      const before = this.#passed.get(key)
      passed.set(key, count)
      // Not known when it passed the mark: it may have been reported before a restart, or live for a day only.
      if (before === undefined || count <= before) continue
      const expires = new Date(at).toISOString()
      const daysLeft = Math.floor((at - now) / dayMs)
      await events.recordAlone('certificate.expiring', {
        sentence: sentenceOf(ending, expires, daysLeft),
        ...{ kind, subject, expires, daysLeft },
        ...(serial === undefined ? {} : { serial }),
        ...(node === undefined ? {} : { node }),
      })
    }
    this.#passed = passed
  }

  async #listEndings(now: number): Promise<Ending[]> {
    const { own, cas, crls } = this.#ctx.security.certificates()
    const trusted = (kind: Kind, certificates: readonly Certificate[]): Ending[] =>
      certificates.map(({ fingerprint, subject, serial, notAfter: at }) => ({
        ...{ kind, key: `${kind} ${fingerprint}`, subject: subject.text, serial, at },
      }))
    const lists = crls.map(({ issuerText, issuerDer, nextUpdate: at }): Ending => {
      return { kind: 'crl', key: `crl ${issuerDer} ${at}`, subject: issuerText, at }
    })
    const nodes = await nodeStore.listEnding(this.#ctx.db.read, now + (warnedDays[0] + 1) * dayMs)
    const ofNodes = nodes.map(({ nodeId, name, identity, serial, at }): Ending => {
      const node = String(nodeId)
      return { kind: 'node', key: `node ${node} ${serial}`, subject: name ?? identity ?? node, serial, node, at }
    })
    return [...trusted('server', own), ...trusted('ca', cas), ...lists, ...ofNodes]
  }
}

const titles: Readonly<Record<Kind, string>> = {
  server: 'The certificate of the SuperLink',
  ca: 'The client CA',
  node: 'The certificate of SuperNode',
  crl: 'The revocation list of',
}

function sentenceOf({ kind, subject }: Ending, expires: string, daysLeft: number): string {
  const title = `${titles[kind]} ${subject}`
  if (kind === 'crl') return `${title} is overdue since ${expires}: publish a new one.`
  if (daysLeft < 0) return `${title} has expired (${expires}): renew it.`
  return `${title} expires in ${daysLeft < 1 ? 'less than a day' : `${daysLeft} days`} (${expires}): renew it.`
}
