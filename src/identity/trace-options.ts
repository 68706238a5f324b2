import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import type { TraceTarget } from '../base/trace-export.ts'
import { readCertificatesPem } from './tls-files.ts'

const example = 'for example http://127.0.0.1:4318'

/** Reads the flags about traces. No error shows the URL, because it may hold a secret. */
export function readTraceTarget({ otlpEndpoint, otlpCaCertfile: path }: OptionValues): TraceTarget | undefined {
  if (typeof otlpEndpoint !== 'string') {
    if (path === undefined) return undefined
    throw new UsageError('--otlp-ca-certfile has no effect alone: add --otlp-endpoint URL.')
  }
  const url = URL.canParse(otlpEndpoint) ? new URL(otlpEndpoint) : undefined
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new UsageError(`--otlp-endpoint must be an http or https URL, ${example}.`)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new UsageError(
      `--otlp-endpoint must hold no user name, password or query, ${example}: give a secret in the variable OTEL_EXPORTER_OTLP_HEADERS.`,
    )
  const endpoint = otlpEndpoint.replace(/\/+$/, '')
  if (typeof path !== 'string') return { endpoint }
  if (url.protocol === 'http:')
    throw new UsageError('--otlp-ca-certfile has no effect without TLS: give --otlp-endpoint an https URL.')
  return { endpoint, ca: { pem: readCertificatesPem({ flag: '--otlp-ca-certfile', path }), path } }
}
