import type { NodeSpan, PhaseView } from './model.ts'

/** One bar of a waterfall: where it begins and how long its parts are, as fractions of the whole phase. */
export interface Bar {
  readonly name: string
  readonly start: number
  /** Until the node had fetched its message. */
  readonly wait: number
  /** From then to its reply. */
  readonly work: number
  readonly failed: boolean
  readonly text: string
}

/** Returns the bars of a phase in the order of its spans. */
export function barsOf({ startedAt, endedAt, spans }: PhaseView): Bar[] {
  const whole = Math.max(1, endedAt - startedAt)
  return spans.map((span) => {
    const fetchedAt = span.fetchedAt > 0 ? Math.max(span.askedAt, span.fetchedAt) : span.repliedAt
    return {
      name: nameOf(span),
      start: (span.askedAt - startedAt) / whole,
      wait: Math.max(0, fetchedAt - span.askedAt) / whole,
      work: Math.max(0, span.repliedAt - fetchedAt) / whole,
      failed: span.failed,
      text: `${secondsText(fetchedAt - span.askedAt)} until fetched, ${secondsText(span.repliedAt - fetchedAt)} until replied${span.failed ? ', with an error' : ''}`,
    }
  })
}

/** Returns e.g. `site-k (12.0 s), site-b (3.1 s)`: the three slowest of more than three nodes; else empty. */
export function slowestText({ startedAt, spans }: PhaseView): string {
  if (spans.length <= 3) return ''
  return spans
    .slice(0, 3)
    .map((span) => `${nameOf(span)} (${secondsText(span.repliedAt - startedAt)})`)
    .join(', ')
}

export function nameOf({ id, name }: Pick<NodeSpan, 'id' | 'name'>): string {
  return name || id
}

export function secondsText(ms: number): string {
  return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`
}
