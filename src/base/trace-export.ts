import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from './clock.ts'
import { UsageError } from './errors.ts'
import type { Logger } from './log.ts'
import { LogThrottle } from './log-throttle.ts'
import type { OptionRow, OptionValues } from './options.ts'
import { noTraces, spanId, type TraceSpan, type Traces, traceId } from './traces.ts'

export const traceRow: OptionRow = {
  flags: '--otlp-endpoint <url>',
  help: 'send traces of runs to this OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318',
}

/** Throws a UsageError for what is no URL. */
export function readTraceEndpoint({ otlpEndpoint: url }: OptionValues): string | undefined {
  if (typeof url !== 'string') return undefined
  if (/^https?:\/\//i.test(url) && URL.canParse(url)) return url.replace(/\/+$/, '')
  throw new UsageError(`--otlp-endpoint must be an http or https URL, for example http://127.0.0.1:4318, not '${url}'.`)
}

/** How long a batch may take to be sent, also the last one at the end of a program. */
const sendMs = 3000

/**
 * Sends spans in batches, with packages that are loaded only if there is an endpoint. What a collector does not take is dropped,
 * with a warning: traces hold nothing up.
 */
export async function openTraces(
  endpoint: string | undefined,
  service: string,
  { log, clock = systemClock }: { log: Pick<Logger, 'warn'>; clock?: Clock },
): Promise<Traces & AsyncDisposable> {
  if (endpoint === undefined) return { ...noTraces, async [Symbol.asyncDispose]() {} }
  const [sdk, { OTLPTraceExporter }, { resourceFromAttributes }, api] = await Promise.all([
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/api'),
  ])
  const exporter = new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, timeoutMillis: sendMs })
  const throttle = new LogThrottle(clock)
  const processor = new sdk.BatchSpanProcessor({
    export(spans, done) {
      exporter.export(spans, (result) => {
        const fields = result.error && throttle.admit('export')
        if (fields)
          log.warn(`Traces are lost: the collector ${endpoint} does not take them (${result.error?.message})`, fields)
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  })
  /** Of the span that is made next: the SDK asks for its ids at once. */
  let next = { trace: '', span: '' }
  const provider = new sdk.BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': service }),
    idGenerator: { generateTraceId: () => next.trace, generateSpanId: () => next.span },
    spanProcessors: [processor],
  })
  const tracer = provider.getTracer('trellis')
  return {
    isOn: true,
    record({ name, runId, key, parent, startedAt, endedAt, attributes, fault }: TraceSpan) {
      const trace = traceId(runId)
      next = { trace, span: key === undefined ? randomBytes(8).toString('hex') : spanId(key) }
      const above = parent && {
        traceId: trace,
        spanId: spanId(parent),
        traceFlags: api.TraceFlags.SAMPLED,
        isRemote: true,
      }
      const context = above ? api.trace.setSpanContext(api.ROOT_CONTEXT, above) : api.ROOT_CONTEXT
      const options = { startTime: startedAt, attributes: { 'trellis.run': String(runId), ...attributes } }
      const span = tracer.startSpan(name, options, context)
      if (fault !== undefined) span.setStatus({ code: api.SpanStatusCode.ERROR, message: fault })
      span.end(Math.max(startedAt, endedAt))
    },
    async [Symbol.asyncDispose]() {
      await provider.shutdown().catch(() => {})
    },
  }
}
