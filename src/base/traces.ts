import { hash } from 'node:crypto'

/**
 * Spans of one run make one trace in all programs, because its id follows from the id of the run, and the ids of the spans that
 * others refer to follow from the ids of their things. So no message grows, and a restart loses nothing.
 */

export interface TraceSpan {
  readonly name: string
  readonly runId: bigint
  /** What others call this span; absent if no span refers to it. */
  readonly key?: SpanKey
  /** Absent: the span is the root of its trace. */
  readonly parent?: SpanKey
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly endedAt: number
  readonly attributes: Readonly<Record<string, string | number>>
  /** Why it failed. */
  readonly fault?: string | undefined
}

/** A run, one of its rounds, or a message. */
export type SpanKey = `run ${bigint}` | `round ${number} of ${bigint}` | `message ${string}`

/** Where the spans of a program go. */
export interface Traces {
  /** Whether spans are sent; if not, no caller needs to make one. */
  readonly isOn: boolean
  record(span: TraceSpan): void
}

export const noTraces: Traces = { isOn: false, record() {} }

/** The id of the trace of a run, hexadecimal. */
export function traceId(runId: bigint): string {
  return hash('sha256', `trellis trace of run ${runId}`).slice(0, 32)
}

export function spanId(key: SpanKey): string {
  return hash('sha256', `trellis span of ${key}`).slice(0, 16)
}
