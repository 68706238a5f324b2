import { createHmac } from 'node:crypto'
import type { Subscription } from '../../base/bell.ts'
import { fetchBounded } from '../../base/bounded-fetch.ts'
import { errorText } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import type { Metrics } from '../../base/metrics.ts'
import { pauseAfter } from '../../base/retry.ts'
import type { SuperlinkContext } from '../context.ts'
import * as outboxStore from './outbox-store.ts'

/** Where events are sent, and how the receiver knows that they are ours. */
export interface WebhookConfig {
  readonly url: string
  readonly secret: Uint8Array
  /** PEM of the CA of the receiver, in addition to the public ones. */
  readonly ca: string | undefined
}

const pauseMsMax = 10 * 60_000
const lookMs = 60_000
const deadlineMs = 15_000
const responseBytesMax = 64 * 1024

type Ctx = Pick<SuperlinkContext, 'db' | 'clock' | 'log' | 'bells'>

/**
 * Sends each event of the outbox by POST until the receiver accepts it with a status of 2xx: at least once, in their order as
 * long as nothing fails. After a failure it pauses, each time longer. What was not accepted within days is given up.
 */
export class Webhook {
  readonly #config: WebhookConfig
  readonly #ctx: Ctx
  readonly #throttle: LogThrottle
  readonly #metrics: ReturnType<typeof createWebhookMetrics>
  /** Events that failed since the receiver accepted one, as many as make the pauses longer. */
  readonly #failed = new Set<number>()
  #gaveUpAt = 0

  constructor(config: WebhookConfig, ctx: Ctx, metrics: Metrics) {
    this.#config = config
    this.#ctx = ctx
    this.#throttle = new LogThrottle(ctx.clock)
    this.#metrics = createWebhookMetrics(metrics)
    metrics.onRead(async () => this.#metrics.waiting.set(await outboxStore.count(ctx.db.read)))
  }

  /** Background job. */
  async run(signal: AbortSignal): Promise<void> {
    const { db, clock, bells } = this.#ctx
    using news = bells.events.subscribe('events')
    while (!signal.aborted) {
      await this.#giveUpOld()
      const next = await outboxStore.findNext(db.read)
      const waitMs = next && next.dueAt - clock.now()
      if (signal.aborted) return
      if (next === undefined || waitMs === undefined) await news.wait(lookMs, signal)
      else if (waitMs > 0) await this.#waitFor(news, Math.min(waitMs, lookMs), signal)
      else await this.#deliver(next, signal)
    }
  }

  /** Waits until an event is due again; a new event is due at once. */
  async #waitFor(news: Subscription, ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    await Promise.race([this.#ctx.clock.sleep(ms, either).catch(() => {}), news.wait(lookMs, either)])
    over.abort()
  }

  async #deliver(delivery: outboxStore.Delivery, signal: AbortSignal): Promise<void> {
    const { db, clock, log } = this.#ctx
    const { position, attempts } = delivery
    const failure = await this.#post(delivery, signal)
    // The next start of the SuperLink sends it again.
    if (failure !== undefined && signal.aborted) return
    this.#metrics.attempts.inc({ result: failure === undefined ? 'accepted' : 'failed' })
    if (failure === undefined) {
      if (this.#failed.has(position) || this.#failed.size > 1) log.info('The webhook accepts events again')
      this.#failed.clear()
      await db.transaction((tx) => outboxStore.remove(tx, position))
      return
    }
    if (this.#failed.size < pausesBetweenMax) this.#failed.add(position)
    const fields = this.#throttle.admit('webhook')
    if (fields) log.warn(`The webhook ${originOf(this.#config.url)} ${failure}: events wait`, fields)
    await db.transaction((tx) => outboxStore.postpone(tx, position, clock.now() + pauseMs(attempts + 1)))
    // An event that the receiver rejects does not hold up the others for long; a receiver that is away is left alone.
    await clock.sleep(pauseMs(this.#failed.size), signal).catch(() => {})
  }

  /** Returns why the receiver has not accepted it, as the rest of a sentence. */
  async #post({ eventId, body }: outboxStore.Delivery, signal: AbortSignal): Promise<string | undefined> {
    const { url, secret, ca } = this.#config
    try {
      const { status } = await fetchBounded({
        url,
        body: { type: 'application/cloudevents+json; charset=utf-8', bytes: Buffer.from(body) },
        headers: signedHeaders(secret, { id: eventId, at: this.#ctx.clock.now(), body }),
        bytesMax: responseBytesMax,
        ignoresBody: true,
        deadlineMs,
        signal,
        ...(ca === undefined ? {} : { ca: [ca] }),
      })
      if (status >= 200 && status < 300) return undefined
      return status >= 300 && status < 400
        ? `redirects (${status}), which is not followed`
        : `responds with status ${status}`
    } catch (error) {
      return errorText(error)
    }
  }

  /** Those that have waited for days, and the oldest of too many. */
  async #giveUpOld(): Promise<void> {
    const { db, clock, log } = this.#ctx
    const now = clock.now()
    if (Math.abs(now - this.#gaveUpAt) < lookMs) return
    this.#gaveUpAt = now
    const { expired, crowded } = await db.transaction(async (tx) => ({
      expired: await outboxStore.removeQueuedBefore(tx, now - limits.webhookPatienceMs),
      crowded: await outboxStore.keepNewest(tx, limits.webhookWaitingMax),
    }))
    if (expired + crowded === 0) return
    this.#metrics.dead.inc({ reason: 'expired' }, expired)
    this.#metrics.dead.inc({ reason: 'too-many' }, crowded)
    const fields = this.#throttle.admit('dead')
    if (fields)
      log.error('Events were given up: the webhook has not accepted them', { expired, tooMany: crowded, ...fields })
  }
}

export function createWebhookMetrics(metrics: Metrics) {
  return {
    attempts: metrics.counter('trellis_webhook_attempts_total', 'Attempts to deliver an event', ['result']),
    dead: metrics.counter('trellis_webhook_dead_total', 'Events that were given up', ['reason']),
    waiting: metrics.gauge('trellis_webhook_waiting', 'Events that the receiver has not accepted yet', []),
  }
}

/** The headers of Standard Webhooks: receivers in many languages have a library that checks them. */
export function signedHeaders(
  secret: Uint8Array,
  { id, at, body }: { id: string; at: number; body: string },
): Record<string, string> {
  const timestamp = String(Math.floor(at / 1000))
  const signature = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}

const pausesBetweenMax = 7

/** 1, 2, 4 … seconds, up to a limit. */
function pauseMs(failures: number): number {
  return pauseAfter(failures, { baseMs: 1000, capMs: pauseMsMax })
}

/** The path may hold a secret of the receiver. */
function originOf(url: string): string {
  return new URL(url).origin
}
