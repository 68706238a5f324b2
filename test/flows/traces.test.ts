import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { traceId } from '../../src/base/traces.ts'
import { Deployment } from '../harness/deployment.ts'

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
}

/** A collector that keeps the spans that come, with the program that sent each. */
async function startCollector() {
  const spans: (Span & { readonly service: string })[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as {
      resourceSpans: {
        resource: { attributes: { key: string; value: { stringValue?: string } }[] }
        scopeSpans: { spans: Span[] }[]
      }[]
    }
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? ''
      spans.push(...scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, service }))))
    }
    response.setHeader('content-type', 'application/json').end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { spans, endpoint, [Symbol.asyncDispose]: close }
}

const serverApp = `
import { Message, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const [dstNodeId] = await grid.getNodeIds()
  const message = Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId })
  const [reply] = await grid.sendAndReceive([message])
  if (reply.hasError()) throw new Error(String(reply.error.reason))
})
`
const clientApp = `
import { ClientApp, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => message.reply(new RecordDict()))
`

test('a run is one trace, from flwr run to the ClientApp of each message', async () => {
  await using collector = await startCollector()
  const flag = ['--otlp-endpoint', collector.endpoint]
  let runId = 0n
  {
    await using deployment = await Deployment.create({ superlinkArguments: flag })
    await deployment.startSupernode('node-1', flag)
    const app = deployment.writeApp({ server: serverApp, client: clientApp })
    const { said, status } = await deployment.flwr('run', app, '--stream', ...flag)
    assert.equal(status, 0, said)
    runId = BigInt(/Successfully started run (\d+)/.exec(said)?.[1] ?? 0)
  }
  const { spans } = collector
  assert.deepEqual([...new Set(spans.map((span) => span.traceId))], [traceId(runId)], JSON.stringify(spans))
  const named = (name: string) => {
    const found = spans.filter((span) => span.name === name)
    assert.equal(found.length, 1, `${name}: ${spans.map((span) => span.name)}`)
    return found[0] as (typeof spans)[number]
  }
  const run = named('run')
  assert.ok(!run.parentSpanId)
  assert.equal(named('flwr run').parentSpanId, run.spanId)
  assert.equal(named('ServerApp').parentSpanId, run.spanId)
  const message = named('message')
  assert.equal(message.parentSpanId, run.spanId)
  const work = named('ClientApp')
  assert.equal(work.parentSpanId, message.spanId)
  assert.deepEqual(
    ['run', 'flwr run', 'ClientApp'].map((name) => named(name).service),
    ['flower-superlink', 'flwr', 'flower-supernode'],
  )
  assert.ok(BigInt(message.startTimeUnixNano) <= BigInt(work.startTimeUnixNano))
})
