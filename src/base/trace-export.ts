import { randomBytes } from 'node:crypto'
import type { Agent } from 'node:http'
import { type Clock, systemClock } from './clock.ts'
import type { Logger } from './log.ts'
import { LogThrottle } from './log-throttle.ts'
import type { OptionRow } from './options.ts'
import { noTraces, spanId, type TraceSpan, type Traces, traceId } from './traces.ts'

export const traceRows = [
  {
    flags: '--otlp-endpoint <url>',
    help: 'send traces of runs to this OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318',
  },
  {
    flags: '--otlp-ca-certfile <path>',
    help: 'PEM file with the CA of the certificate of the collector, beside the public ones',
  },
] as const satisfies readonly OptionRow[]

/** Where traces are sent; `identity/trace-options.ts` reads it. */
export interface TraceTarget {
  /** An http or https URL without a slash at its end. */
  readonly endpoint: string
  /** PEM of the CA of the collector, in addition to the public ones, and its file. */
  readonly ca?: { readonly pem: string; readonly path: string }
}

/** The flags that make another program of ours send its traces there too. Other users of the machine can read them. */
export function traceArguments(target: TraceTarget | undefined): string[] {
  if (target === undefined) return []
  return ['--otlp-endpoint', target.endpoint, ...(target.ca ? ['--otlp-ca-certfile', target.ca.path] : [])]
}

/** Spans wait so long for others. A program that is killed loses no more. */
const batchMs = 1000

/**
 * Sends spans in batches, with packages that are loaded only if there is an endpoint. What a collector does not take is dropped,
 * with a warning: traces hold nothing up. A batch, also the last one at the end of the program, may take `sendMs`.
 */
export async function openTraces(
  target: TraceTarget | undefined,
  service: string,
  { log, clock = systemClock, sendMs = 3000 }: { log: Pick<Logger, 'warn'>; clock?: Clock; sendMs?: number },
): Promise<Traces & AsyncDisposable> {
  if (target === undefined) return { ...noTraces, async [Symbol.asyncDispose]() {} }
  const [sdk, { OTLPTraceExporter }, { resourceFromAttributes }, api, { openAgent }] = await Promise.all([
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/api'),
    import('./bounded-fetch.ts'),
  ])
  const agents: Agent[] = []
  const exporter = new OTLPTraceExporter({
    url: `${target.endpoint}/v1/traces`,
    timeoutMillis: sendMs,
    httpAgentOptions: (protocol) => {
      const agent = openAgent(protocol, target.ca && [target.ca.pem])
      agents.push(agent)
      return agent
    },
  })
  const throttle = new LogThrottle(clock)
  /** The path of the URL may hold a secret. */
  const { origin } = new URL(target.endpoint)
  const warn = (reason: string): void => {
    const fields = throttle.admit('export')
    if (fields) log.warn(`Traces are lost: the collector ${origin} does not take them (${reason})`, fields)
  }
  const reporting = {
    export(spans: Parameters<typeof exporter.export>[0], done: Parameters<typeof exporter.export>[1]): void {
      exporter.export(spans, (result) => {
        if (result.error) warn(result.error.message)
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  }
  const processor = new sdk.BatchSpanProcessor(reporting, { scheduledDelayMillis: batchMs })
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
    record({ name, runId, key, parent, outer, startedAt, endedAt, attributes, fault }: TraceSpan) {
      const trace = traceId(runId)
      next = { trace, span: key === undefined ? randomBytes(8).toString('hex') : spanId(key) }
      const parentContext = parent && {
        traceId: trace,
        spanId: spanId(parent),
        traceFlags: api.TraceFlags.SAMPLED,
        isRemote: true,
      }
      const above = outer ? { ...outer, isRemote: true } : parentContext
      const context = above ? api.trace.setSpanContext(api.ROOT_CONTEXT, above) : api.ROOT_CONTEXT
      const links = outer && parentContext ? [{ context: parentContext }] : []
      const all = { 'trellis.run': String(runId), ...attributes }
      const span = tracer.startSpan(name, { startTime: startedAt, attributes: all, links }, context)
      if (fault !== undefined) span.setStatus({ code: api.SpanStatusCode.ERROR, message: fault })
      span.end(Math.max(startedAt, endedAt))
    },
    async [Symbol.asyncDispose]() {
      const sent = new AbortController()
      const late = systemClock.sleep(sendMs, sent.signal).then(
        () => warn('it does not respond'),
        () => {},
      )
      await Promise.race([provider.shutdown().catch(() => {}), late])
      sent.abort()
      for (const agent of agents) agent.destroy()
    },
  }
}
