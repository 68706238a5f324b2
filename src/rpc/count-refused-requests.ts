import { DomainError } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Interceptor } from './interceptor.ts'

/** Counts calls that are refused for the size or pace of their request, or for want of memory. */
export function countRefusedRequests(metrics: Pick<Metrics, 'bodyRefusals'>, listener: string): Interceptor {
  return {
    onError(_head, _method, error) {
      if (error instanceof DomainError && isAboutRequest.has(error.code))
        metrics.bodyRefusals.inc({ listener, reason: error.code })
    },
  }
}

const isAboutRequest: ReadonlySet<string> = new Set([
  'message-too-large',
  'request-too-slow',
  'too-many-bytes',
  'crowded',
])
