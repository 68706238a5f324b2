import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Issued } from '../../src/identity/pki.ts'

export interface CollectedSpan {
  readonly name: string
  /** The program that sent it. */
  readonly service: string
  /** The secret that it was sent with. */
  readonly authorization: string | undefined
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
}

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { key: string; value: { stringValue?: string } }[] }
    readonly scopeSpans: readonly { readonly spans: readonly Omit<CollectedSpan, 'service' | 'authorization'>[] }[]
  }[]
}

/** An OpenTelemetry collector that keeps the spans it receives, with TLS if it has a certificate. */
export async function startTraceCollector(issued?: Issued) {
  const spans: CollectedSpan[] = []
  const receive: RequestListener = async (request, response) => {
    const { authorization } = request.headers
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as Exported
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? ''
      spans.push(...scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, service, authorization }))))
    }
    response.setHeader('content-type', 'application/json').end('{}')
  }
  const tls = issued && { cert: issued.certificatePem, key: issued.keyPem }
  const server = tls ? createTlsServer(tls, receive) : createServer(receive)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  const endpoint = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { spans, endpoint, [Symbol.asyncDispose]: close }
}
