import type { Metrics } from '../../base/metrics.ts'
import type { AuditLog } from '../../identity/audit.ts'
import { runJob } from '../background-job.ts'
import type { SuperlinkContext } from '../context.ts'
import { CertificateEvents } from './certificate-events.ts'
import { watchOldEvents } from './forget-events.ts'
import { RefusalEvents } from './refusal-events.ts'
import { Webhook, type WebhookConfig } from './webhook.ts'

export interface EventSources {
  /** Sees what is written to the audit log. */
  readonly noteRefusal: AuditLog
  /** Starts the background jobs that make events, send them and forget them. */
  start(signal: AbortSignal): Promise<void>[]
}

/** What makes events besides the rules of runs and SuperNodes: refusals and time. And what sends them. */
export function openEventSources(
  ctx: SuperlinkContext,
  {
    webhook: config,
    metrics,
    troubles,
  }: { webhook: WebhookConfig | undefined; metrics: Metrics; troubles: () => readonly string[] },
): EventSources {
  const refusals = new RefusalEvents(ctx.clock)
  const certificates = new CertificateEvents(ctx, troubles)
  const webhook = config && new Webhook(config, ctx, metrics)
  return {
    noteRefusal: (entry) => refusals.note(entry),
    start: (signal) => [
      runJob(ctx, 'event retention', () => watchOldEvents(ctx, signal)),
      runJob(ctx, 'refusal watch', () => refusals.run(ctx.events, signal)),
      runJob(ctx, 'certificate watch', () => certificates.run(signal)),
      ...(webhook ? [runJob(ctx, 'webhook', () => webhook.run(signal))] : []),
    ],
  }
}
