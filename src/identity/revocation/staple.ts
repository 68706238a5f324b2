import type { Clock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { pauseAfter } from '../../base/retry.ts'
import { parseCertificate } from '../certificate.ts'
import { onOperatorSignal } from '../operator-signal.ts'
import { OcspRefusal, readOcspResponse } from './ocsp.ts'
import type { OcspPair } from './ocsp-checks.ts'
import { askResponder, goodUntilOf } from './ocsp-responder.ts'

export interface StapleOptions {
  /** The certificate in use and its issuer; `undefined` while it names no responder or its issuer is not known. */
  readonly pair: () => OcspPair | undefined
  /** Calls back when another certificate is in use. */
  readonly subscribe: (onReplaced: () => void) => Disposable
  readonly clock: Clock
  readonly log: Logger
}

/** What a responder says of a server's own certificate, at hand for its clients and renewed before it runs out. */
export class OcspStaple implements AsyncDisposable {
  readonly #options: StapleOptions
  readonly #stop = new AbortController()
  readonly #subscription: Disposable
  readonly #hangup: Disposable
  readonly #throttle: LogThrottle
  readonly #done: Promise<void>
  #pause = new AbortController()
  #held: { der: Uint8Array; serial: string; goodUntil: number } | undefined
  #failures = 0

  constructor(options: StapleOptions) {
    this.#options = options
    this.#throttle = new LogThrottle(options.clock)
    this.#subscription = options.subscribe(() => this.#pause.abort())
    this.#hangup = onOperatorSignal('SIGHUP', () => this.#pause.abort())
    this.#done = this.#run()
  }

  /** The answer to hand out, which is of the certificate in use and still good. */
  current(): Uint8Array | undefined {
    const { pair, clock } = this.#options
    const held = this.#held
    if (!held || held.goodUntil < clock.now() || held.serial !== pair()?.certificate.serial) return undefined
    return held.der
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]()
    this.#hangup[Symbol.dispose]()
    this.#stop.abort()
    this.#pause.abort()
    await this.#done
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#pause = new AbortController()
      await this.#renew()
      if (this.#stop.signal.aborted) return
      await this.#options.clock.sleep(this.#pauseMs(), this.#pause.signal).catch(() => {})
    }
  }

  async #renew(): Promise<void> {
    const { pair, clock, log } = this.#options
    const current = pair()
    const [url] = current?.certificate.ocspUrls ?? []
    if (!current || url === undefined) return
    try {
      const now = (): number => clock.now()
      const { answer, der } = await askResponder({ ...current, url, now, deadlineMs: askMs })
      if (answer.status !== 'good') log.error(`The OCSP responder ${url} says of our own certificate: ${answer.status}`)
      const goodUntil = goodUntilOf(answer, clock.now())
      this.#held = { der, serial: current.certificate.serial, goodUntil }
      this.#failures = 0
    } catch (error) {
      this.#failures += 1
      const fields = this.#throttle.admit(url)
      if (fields) log.warn(`No OCSP answer to staple: ${url} ${errorText(error)}`, fields)
    }
  }

  #pauseMs(): number {
    if (this.#failures > 0) return pauseAfter(this.#failures, { baseMs: 2000, capMs: pauseMsMax })
    const leftMs = (this.#held?.goodUntil ?? 0) - this.#options.clock.now()
    return Math.max(shortestMs, Math.min(longestMs, leftMs / 2))
  }
}

const askMs = 5000
const pauseMsMax = 5 * 60_000
const shortestMs = 5000
const longestMs = 6 * 3600_000

/**
 * What a stapled answer has against its server, as the rest of a sentence; `undefined` when nothing. A server is
 * responsible for what it staples: an invalid response is not treated as a missing one.
 */
export function stapleFault(staple: Uint8Array, chain: readonly Uint8Array[], now: number): string | undefined {
  const [certificate, issuer] = chain.map(parseCertificate)
  if (!certificate || !issuer) return undefined
  try {
    const { status } = readOcspResponse(staple, { certificate, issuer, now })
    if (status === 'good') return undefined
    return status === 'revoked'
      ? 'has been revoked, says the OCSP answer that came with it'
      : 'is not known to its OCSP responder'
  } catch (error) {
    return error instanceof OcspRefusal
      ? undefined
      : `came with an OCSP answer that is not to be believed: ${errorText(error)}`
  }
}
