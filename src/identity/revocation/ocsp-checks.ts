import type { Clock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { pauseAfter } from '../../base/retry.ts'
import type { Certificate } from '../certificate.ts'
import { type JudgementInput, judge, type RevocationData } from '../judge.ts'
import { caKey } from '../policy.ts'
import { type OcspAnswer, ocspSkewMs } from './ocsp.ts'
import { askResponder, goodUntilOf, SilentResponder } from './ocsp-responder.ts'

/** How responders are asked. */
export interface OcspOptions {
  /** `lax` accepts certificates about which no responder answers, `strict` does not. */
  readonly mode: 'lax' | 'strict'
  /** Asked about the certificates of peers instead of the responders that these name. */
  readonly url: string | undefined
  readonly clock: Clock
  readonly log: Logger
  /** What else is known of revocations: of certificates that sign responses. */
  readonly lists: () => RevocationData
  /** Called with the result of every question, for metrics. */
  readonly onAsked?: (result: OcspAnswer['status'] | 'failed') => void
  /** For tests. */
  readonly ask?: typeof askResponder
}

/** A certificate below the anchor of a path, and its issuer. */
export interface OcspPair {
  readonly certificate: Certificate
  readonly issuer: Certificate
}

/** What is known of one certificate. */
interface Entry extends OcspPair {
  readonly url: string
  answer: OcspAnswer | undefined
  /** Until when it is good. */
  goodUntil: number
  /** Why the last question had no answer. */
  fault: string | undefined
  failures: number
  /** Epoch milliseconds: the earliest time of the next question; and when the result was last needed. */
  askAt: number
  wantedAt: number
  asking: Promise<void> | undefined
}

/**
 * Responses of OCSP responders, kept for as long as they are good. Judging only looks here and never waits; before a new
 * connection is judged, `learn` asks what is not known, and `refresh` renews what is in use. All of it is bounded.
 */
export class OcspChecks implements RevocationData {
  readonly #options: OcspOptions
  readonly #entries = new Map<string, Entry>()
  readonly #throttle: LogThrottle
  /** Until when a responder that was silent is not asked. */
  readonly #silent = new Map<string, number>()
  /** By responder: how many questions are under way, and which wait. No more than there are entries. */
  readonly #turns = new Map<string, { running: number; readonly waiting: (() => void)[] }>()

  /** For connections that are open: they are not cut off before their responder was asked. */
  readonly open: RevocationData = {
    check: (certificate, issuer, now) => {
      const found = this.check(certificate, issuer, now)
      return found?.reason === 'revocation-unknown' && this.#isUnasked(certificate, issuer) ? undefined : found
    },
  }

  constructor(options: OcspOptions) {
    this.#options = options
    this.#throttle = new LogThrottle(options.clock)
  }

  check(certificate: Certificate, issuer: Certificate, now: number): ReturnType<RevocationData['check']> {
    const strict = this.#options.mode === 'strict'
    const unknown = (why: string): ReturnType<RevocationData['check']> => ({ reason: 'revocation-unknown', about: why })
    const url = this.#urlOf(certificate)
    if (url === undefined) {
      // Intermediates without a responder are removed by a list, or with their CA.
      if (!strict || certificate.isCa) return undefined
      return unknown('it names no OCSP responder, and --ssl-client-ocsp-url names none')
    }
    const entry = this.#want({ certificate, issuer }, url, now)
    const { answer, fault } = entry
    const about = `serial ${certificate.serial} of ${issuer.subject.text}`
    // Longer than the response is valid: a silent responder must not let a certificate in.
    if (answer?.status === 'revoked') return { reason: 'revoked-by-ocsp', about }
    const isCurrent = answer !== undefined && now <= entry.goodUntil + ocspSkewMs
    if (isCurrent) return answer.status === 'good' ? undefined : unknown(`${url} does not know ${about}`)
    return strict ? unknown(`the OCSP responder ${url} ${fault ?? 'was not asked yet'}`) : undefined
  }

  /** Asks what must be known of these; `undefined` when there is nothing to wait for. Never rejects, never takes long. */
  learn(pairs: readonly OcspPair[]): Promise<void> | undefined {
    const now = this.#options.clock.now()
    const due = pairs.flatMap((pair): Entry[] => {
      const url = this.#urlOf(pair.certificate)
      const entry = url === undefined ? undefined : this.#want(pair, url, now)
      const isKnown = entry?.answer !== undefined && now <= entry.goodUntil
      return entry && !isKnown && entry.askAt <= now ? [entry] : []
    })
    const asked = due.flatMap((entry) => this.#ask(entry) ?? [])
    if (asked.length === 0) return undefined
    const tooLong = new AbortController()
    const deadline = this.#options.clock.sleep(learnMs, tooLong.signal).catch(() => {})
    return Promise.race([Promise.all(asked).then(() => {}), deadline]).finally(() => tooLong.abort())
  }

  /** Asks again about certificates in use whose responses expire, or had none. Returns whether something has changed. */
  async refresh(): Promise<boolean> {
    const now = this.#options.clock.now()
    const changes: Promise<boolean>[] = []
    for (const [key, entry] of this.#entries) {
      if (entry.wantedAt + unusedMs < now) {
        if (entry.answer?.status !== 'revoked' || entry.certificate.notAfter < now) this.#entries.delete(key)
        continue
      }
      if (entry.askAt > now || entry.wantedAt + inUseMs < now) continue
      const before = stateOf(entry)
      const asked = this.#ask(entry)
      if (asked) changes.push(asked.then(() => stateOf(entry) !== before))
    }
    return (await Promise.all(changes)).includes(true)
  }

  /** Everything is asked again soon; what is known stays until then. */
  askAgain(): void {
    for (const entry of this.#entries.values()) entry.askAt = 0
    this.#silent.clear()
  }

  #urlOf(certificate: Certificate): string | undefined {
    return (certificate.isCa ? undefined : this.#options.url) ?? certificate.ocspUrls[0]
  }

  #want({ certificate, issuer }: OcspPair, url: string, now: number): Entry {
    const key = keyOf(certificate, issuer)
    const known = this.#entries.get(key)
    if (known) {
      known.wantedAt = now
      return known
    }
    if (this.#entries.size >= entriesMax) this.#makeRoom()
    const entry: Entry = {
      ...{ certificate, issuer, url, answer: undefined, goodUntil: 0, fault: undefined, failures: 0 },
      ...{ askAt: 0, wantedAt: now, asking: undefined },
    }
    this.#entries.set(key, entry)
    return entry
  }

  #isUnasked(certificate: Certificate, issuer: Certificate): boolean {
    const entry = this.#entries.get(keyOf(certificate, issuer))
    return entry !== undefined && entry.answer === undefined && entry.fault === undefined
  }

  /** Revocations are forgotten last. */
  #makeRoom(): void {
    const [oldest] = this.#entries.keys()
    for (const [key, { answer }] of this.#entries) {
      if (answer?.status === 'revoked') continue
      this.#entries.delete(key)
      return
    }
    if (oldest !== undefined) this.#entries.delete(oldest)
  }

  /** `undefined` if no responder is asked, because it was silent a moment ago. */
  #ask(entry: Entry): Promise<void> | undefined {
    if (entry.asking) return entry.asking
    if (this.#isSilent(entry)) return undefined
    entry.asking = this.#askInTurn(entry).finally(() => {
      entry.asking = undefined
    })
    return entry.asking
  }

  #isSilent(entry: Entry): boolean {
    const isSilent = (this.#silent.get(entry.url) ?? 0) > this.#options.clock.now()
    if (isSilent) entry.fault ??= 'did not answer others a moment ago'
    return isSilent
  }

  /** A few at a time of each responder; those of others do not wait. */
  async #askInTurn(entry: Entry): Promise<void> {
    const { url } = entry
    const turns = this.#turns.get(url) ?? { running: 0, waiting: [] }
    this.#turns.set(url, turns)
    if (turns.running >= askingMax) await new Promise<void>((resolve) => turns.waiting.push(resolve))
    else turns.running += 1
    try {
      if (!this.#isSilent(entry)) await this.#askNow(entry)
    } finally {
      const next = turns.waiting.shift()
      if (next) next()
      else turns.running -= 1
      if (turns.running === 0) this.#turns.delete(url)
    }
  }

  async #askNow(entry: Entry): Promise<void> {
    const { clock, log, lists, onAsked, ask = askResponder } = this.#options
    const { url, certificate, issuer } = entry
    const isRevoked = (responder: Certificate): boolean =>
      lists().check(responder, issuer, clock.now())?.reason === 'revoked-by-crl'
    try {
      const now = (): number => clock.now()
      const { answer } = await ask({ url, certificate, issuer, isRevoked, now, deadlineMs: askMs })
      // An attacker in the responder's place can only replay older responses.
      if (entry.answer && answer.thisUpdate < entry.answer.thisUpdate) throw new Error('repeats an older answer')
      const goodUntil = goodUntilOf(answer, clock.now())
      Object.assign(entry, { answer, goodUntil, fault: undefined, failures: 0 })
      entry.askAt = renewAt(goodUntil, clock.now())
      this.#silent.delete(url)
      onAsked?.(answer.status)
    } catch (error) {
      entry.fault = errorText(error)
      entry.failures += 1
      const pauseMs = pauseAfter(entry.failures, { baseMs: 2000, capMs: pauseMsMax })
      entry.askAt = clock.now() + pauseMs
      if (error instanceof SilentResponder) this.#silence(url, pauseMs)
      onAsked?.('failed')
      const fields = this.#throttle.admit(`${url} ${entry.fault}`)
      if (fields) log.warn(`The OCSP responder ${url} ${entry.fault}`, { serial: certificate.serial, ...fields })
    }
  }

  #silence(url: string, pauseMs: number): void {
    if (this.#silent.size >= respondersMax) this.#silent.clear()
    this.#silent.set(url, this.#options.clock.now() + Math.min(pauseMs, silentMsMax))
  }
}

/** What would be asked about a peer: the certificates of its path that no list has revoked. */
export function pairsToAsk(input: JudgementInput): OcspPair[] {
  const pairs: OcspPair[] = []
  const revocation: RevocationData = {
    check(certificate, issuer, now) {
      const revoked = input.revocation.check(certificate, issuer, now)
      if (!revoked) pairs.push({ certificate, issuer })
      return revoked
    },
  }
  judge({ ...input, revocation })
  return pairs
}

/** What a certificate is judged by: lists first, for they are at hand. */
export function listsAndOcsp(lists: RevocationData, ocsp: RevocationData | undefined): RevocationData {
  if (!ocsp) return lists
  return { check: (...asked) => lists.check(...asked) ?? ocsp.check(...asked) }
}

/** By the key of the CA, which may have several certificates. */
function keyOf(certificate: Certificate, issuer: Certificate): string {
  return `${certificate.serial} ${caKey(issuer)}`
}

function stateOf({ answer, fault }: Entry): string {
  return `${answer?.status} ${fault !== undefined}`
}

/** Before it is outdated, and not all at once where all are of one instant. */
function renewAt(goodUntil: number, now: number): number {
  const leftMs = Math.max(0, goodUntil - now)
  return now + Math.max(askAgainMsMin, leftMs * (0.7 + 0.2 * Math.random()))
}

/** How long a question may take, all attempts together. */
const askMs = 3000
const askingMax = 16
/** How long a connection waits for a word about its certificates, its turn included. */
const learnMs = 10_000
const askAgainMsMin = 5000
const pauseMsMax = 60_000
/** A responder that was silent is left alone for this long at most: it may be back. */
const silentMsMax = 4000
/** Open connections are judged once a minute. */
const inUseMs = 150_000
const unusedMs = 3600_000
const entriesMax = 50_000
const respondersMax = 1000
