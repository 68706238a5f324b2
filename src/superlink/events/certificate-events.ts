import type { Certificate } from '../../identity/certificate.ts'
import type { SuperlinkContext } from '../context.ts'
import * as nodeStore from '../nodes/node-store.ts'
import type { EventData } from './event-catalog.ts'
import * as eventStore from './event-store.ts'

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
  /** When it began to be valid, if that is known. */
  readonly since?: number
}

const dayMs = 24 * 3_600_000
const warnedDays = [30, 14, 7, 3, 1, 0] as const
const lookEveryMs = 10_000
const looksBetweenNodes = 60

/**
 * Reports certificates and lists that come closer to their end, renewals of the server certificate, and files that are not
 * good. An event is due when time passes a mark: a certificate that is valid for a day passes none until it expires. Marks that
 * time passed while the SuperLink was down are reported at its next start, if it has a database.
 */
export class CertificateEvents {
  readonly #ctx: Ctx
  /** Why the certificates in use are not those in their files; one sentence for each set of files. */
  readonly #troubles: () => readonly string[]
  /** How many marks each certificate has passed. */
  readonly #passed = new Map<string, number>()
  readonly #knownTroubles = new Set<string>()
  #serials: Set<string> | undefined
  /** The last event before this instant shows until when marks were reported before the SuperLink was started. */
  readonly #startedAt: number
  #hasLooked = false

  constructor(ctx: Ctx, troubles: () => readonly string[]) {
    this.#ctx = ctx
    this.#startedAt = ctx.clock.now()
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
    const { server } = security.certificates()
    const before = this.#serials
    const serials = new Set(server.map(({ serial }) => serial).filter((serial) => !before || before.has(serial)))
    this.#serials = serials
    for (const certificate of server) {
      if (serials.has(certificate.serial)) continue
      const expires = new Date(certificate.notAfter).toISOString()
      const subject = certificate.subject.text
      await events.recordAlone('certificate.renewed', {
        sentence: `The SuperLink has a new certificate, ${subject}, until ${expires}.`,
        ...{ kind: 'server', subject, serial: certificate.serial, expires },
      })
      // Not before it is stored: if the database fails, the next look reports it.
      serials.add(certificate.serial)
    }
    const troubles = this.#troubles()
    for (const sentence of this.#knownTroubles) if (!troubles.includes(sentence)) this.#knownTroubles.delete(sentence)
    for (const sentence of troubles) {
      if (this.#knownTroubles.has(sentence)) continue
      const [, files = ''] = /^The (.*?) in use /.exec(sentence) ?? []
      await events.recordAlone('certificate.renewal-failing', { sentence, files, details: sentence })
      this.#knownTroubles.add(sentence)
    }
  }

  async lookAtEnds(): Promise<void> {
    const { events, clock } = this.#ctx
    const now = clock.now()
    const endings = await this.#listEndings(now)
    const lastEventAt = this.#hasLooked ? undefined : await eventStore.timeBefore(this.#ctx.db.read, this.#startedAt)
    const keys = new Set(endings.map(({ key }) => key))
    for (const key of this.#passed.keys()) if (!keys.has(key)) this.#passed.delete(key)
    for (const ending of endings) {
      const { kind, key, subject, serial, node, at, since = 0 } = ending
      const marks = kind === 'crl' ? [0] : warnedDays
      const countAt = (time: number): number => marks.filter((days) => at - time <= days * dayMs).length
      const count = countAt(now)
      const before =
        this.#passed.get(key) ?? (lastEventAt === undefined ? undefined : countAt(Math.max(lastEventAt, since)))
      // Without a former count it is not known whether it has passed a mark, or was valid for a shorter time from the start.
      if (before === undefined || count <= before) {
        this.#passed.set(key, count)
        continue
      }
      const expires = new Date(at).toISOString()
      const daysLeft = Math.floor((at - now) / dayMs)
      await events.recordAlone('certificate.expiring', {
        sentence: sentenceOf(ending, expires, daysLeft),
        ...{ kind, subject, expires, daysLeft },
        ...(serial === undefined ? {} : { serial }),
        ...(node === undefined ? {} : { node }),
      })
      this.#passed.set(key, count)
    }
    this.#hasLooked = true
  }

  async #listEndings(now: number): Promise<Ending[]> {
    const { server, cas, crls } = this.#ctx.security.certificates()
    const trusted = (kind: Kind, certificates: readonly Certificate[]): Ending[] =>
      certificates.map(({ fingerprint, subject, serial, notBefore: since, notAfter: at }) => ({
        ...{ kind, key: `${kind} ${fingerprint}`, subject: subject.text, serial, at, since },
      }))
    const lists = crls.map(({ issuerText, issuerDer, nextUpdate: at }): Ending => {
      return { kind: 'crl', key: `crl ${issuerDer} ${at}`, subject: issuerText, at }
    })
    const nodes = await nodeStore.listEnding(this.#ctx.db.read, now + (warnedDays[0] + 1) * dayMs)
    const ofNodes = nodes.map(({ nodeId, name, identity, serial, at }): Ending => {
      const node = String(nodeId)
      return { kind: 'node', key: `node ${node} ${serial}`, subject: name ?? identity ?? node, serial, node, at }
    })
    return [...trusted('server', server), ...trusted('ca', cas), ...lists, ...ofNodes]
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
