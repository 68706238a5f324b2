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
  /** A span of another program that started this one: the span becomes a part of that trace, with a link to `parent`. */
  readonly outer?: OuterSpan | undefined
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly endedAt: number
  readonly attributes: Readonly<Record<string, string | number>>
  /** Why it failed. */
  readonly fault?: string | undefined
}

/** A run, one of its rounds, a message, the work of an app on a task, or the process of that app. */
export type SpanKey =
  | `run ${bigint}`
  | `round ${number} of ${bigint}`
  | `message ${string}`
  | `task ${bigint} of ${bigint}`
  | `process of task ${bigint} of ${bigint}`

/** What a `traceparent` of W3C Trace Context names. */
export interface OuterSpan {
  readonly traceId: string
  readonly spanId: string
  readonly traceFlags: number
}

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

/** Returns the span as other programs name their parent: the `traceparent` of W3C Trace Context. */
export function traceParent(runId: bigint, key: SpanKey): string {
  return `00-${traceId(runId)}-${spanId(key)}-01`
}

const form = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/

/** Returns `undefined` for a text that is no `traceparent`: as the standard says, it is ignored. */
export function parseTraceParent(text: string): OuterSpan | undefined {
  const [, traceId, spanId, flags] = form.exec(text) ?? []
  if (traceId === undefined || spanId === undefined) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags ?? '', 16) & 1 }
}
