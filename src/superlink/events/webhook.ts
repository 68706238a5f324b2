import { createHmac } from 'node:crypto'
import { lookAgain } from '../../base/bell.ts'
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
  #failures = 0
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
    while (!signal.aborted) {
      await this.#giveUpOld()
      const look = () => outboxStore.findNext(db.read)
      const next = await lookAgain(bells.events, 'events', look, { waitMs: lookMs, signal })
      if (!next || signal.aborted) continue
      const waitMs = next.dueAt - clock.now()
      if (waitMs > 0) await clock.sleep(Math.min(waitMs, lookMs), signal).catch(() => {})
      else await this.#deliver(next, signal)
    }
  }

  async #deliver(delivery: outboxStore.Delivery, signal: AbortSignal): Promise<void> {
    const { db, clock, log } = this.#ctx
    const { position, attempts } = delivery
    const failure = await this.#post(delivery)
    this.#metrics.attempts.inc({ result: failure === undefined ? 'accepted' : 'failed' })
    if (failure === undefined) {
      if (this.#failures > 0) log.info('The webhook accepts events again')
      this.#failures = 0
      await db.transaction((tx) => outboxStore.remove(tx, position))
      return
    }
    this.#failures += 1
    const fields = this.#throttle.admit('webhook')
    if (fields) log.warn(`The webhook ${originOf(this.#config.url)} ${failure}: events wait`, fields)
    await db.transaction((tx) => outboxStore.postpone(tx, position, clock.now() + pauseMs(attempts + 1)))
    // An event that the receiver does not like does not hold up the others for long; a receiver that is away is left alone.
    await clock.sleep(pauseMs(Math.min(this.#failures, pausesBetweenMax)), signal).catch(() => {})
  }

  /** Returns why the receiver has not accepted it, as the rest of a sentence. */
  async #post({ eventId, body }: outboxStore.Delivery): Promise<string | undefined> {
    const { url, secret, ca } = this.#config
    try {
      const { status } = await fetchBounded({
        url,
        body: { type: 'application/cloudevents+json; charset=utf-8', bytes: Buffer.from(body) },
        headers: signedHeaders(secret, { id: eventId, at: this.#ctx.clock.now(), body }),
        bytesMax: responseBytesMax,
        deadlineMs,
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
