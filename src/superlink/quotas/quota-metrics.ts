import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import type { Metrics } from '../../base/metrics.ts'
import type { QuotaName, Quotas } from './quotas.ts'

/** Counts what quotas refuse, and reports it to the operator once a minute for each quota. */
export function noteRefusals(
  metrics: Metrics,
  { log, clock }: { readonly log: Logger; readonly clock: Clock },
): (name: QuotaName, sentence: string) => void {
  const refusals = metrics.counter('trellis_quota_refusals_total', 'Calls that a quota has refused', ['quota'])
  const throttle = new LogThrottle(clock)
  return (quota, sentence) => {
    refusals.inc({ quota })
    const fields = throttle.admit(quota)
    if (fields) log.warn(sentence, fields)
  }
}

/** Adds metrics for the limit of each quota and for how much of it is used. */
export function tellQuotas(metrics: Metrics, quotas: Pick<Quotas, 'list'>): void {
  const limit = metrics.gauge('trellis_quota_limit', 'Limit of a quota, in bytes or as a count', ['quota'])
  const used = metrics.gauge('trellis_quota_used', 'What is used of a quota, by the run or node that uses most', [
    'quota',
  ])
  metrics.onRead(async () => {
    for (const one of await quotas.list()) {
      limit.set({ quota: one.name }, one.limit)
      used.set({ quota: one.name }, one.used)
    }
  })
}
