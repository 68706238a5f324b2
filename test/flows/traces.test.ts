import assert from 'node:assert/strict'
import { test } from 'node:test'
import { traceId } from '../../src/base/traces.ts'
import { TestCa } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { eventually } from '../harness/program.ts'
import { startTraceCollector } from '../harness/trace-collector.ts'

const serverApp = `
import { Message, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const [dstNodeId] = await grid.getNodeIds()
  const message = Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId })
  const [reply] = await grid.sendAndReceive([message])
  if (reply.hasError()) throw new Error(String(reply.error.reason))
  console.log('ServerApp has ' + process.env.TRACEPARENT)
  console.log('ServerApp has headers ' + process.env.OTEL_EXPORTER_OTLP_HEADERS)
  console.log('ClientApp has ' + reply.content.configRecords.get('app').get('trace'))
})
`
const clientApp = `
import { ClientApp, ConfigRecord, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const content = new RecordDict({ app: new ConfigRecord({ trace: String(process.env.TRACEPARENT) }) })
  return message.reply(content)
})
`

test('a run is one trace, from flwr run to the ClientApp of each message, and apps can continue it', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path, 'collector-ca')
  await using collector = await startTraceCollector((await ca.server()).issued)
  const flags = ['--otlp-endpoint', collector.endpoint, '--otlp-ca-certfile', ca.certfile]
  let runId = 0n
  let said = ''
  {
    const environment = { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=collector-key' }
    await using deployment = await Deployment.create({ superlinkArguments: flags, environment })
    await deployment.startSupernode('node-1', flags)
    const app = deployment.writeApp({ server: serverApp, client: clientApp })
    const ran = await deployment.flwr('run', app, '--stream', ...flags)
    said = ran.said
    assert.equal(ran.status, 0, said)
    // A program that ends gives up after a few seconds.
    const expected = ['ClientApp', 'ServerApp', 'app process', 'app process', 'flwr run', 'message', 'run']
    const names = (): string => String(collector.spans.map(({ name }) => name).toSorted())
    await eventually('all spans', () => names() === String(expected))
    runId = BigInt(/Successfully started run (\d+)/.exec(said)?.[1] ?? 0)
  }
  const { spans } = collector
  assert.deepEqual([...new Set(spans.map((span) => span.traceId))], [traceId(runId)], JSON.stringify(spans))
  const find = (name: string, parent?: string) => {
    const found = spans.filter((span) => span.name === name && (!parent || span.parentSpanId === parent))
    assert.equal(found.length, 1, `${name}: ${spans.map((span) => span.name)}`)
    return found[0] as (typeof spans)[number]
  }
  // Every program has the secret of the collector, and apps do not.
  assert.deepEqual([...new Set(spans.map((span) => span.authorization))], ['collector-key'])
  assert.match(said, /ServerApp has headers undefined/)
  const run = find('run')
  assert.ok(!run.parentSpanId)
  assert.equal(find('flwr run').parentSpanId, run.spanId)
  const server = find('ServerApp', run.spanId)
  const message = find('message', run.spanId)
  const client = find('ClientApp', message.spanId)
  assert.deepEqual(
    ['run', 'flwr run', 'ClientApp'].map((name) => find(name).service),
    ['flower-superlink', 'flwr', 'flower-supernode'],
  )
  assert.ok(BigInt(message.startTimeUnixNano) <= BigInt(client.startTimeUnixNano))
  for (const [name, { spanId }] of Object.entries({ ServerApp: server, ClientApp: client })) {
    const process = find('app process', spanId)
    assert.equal(process.service, 'flower-superexec')
    assert.ok(said.includes(`${name} has 00-${traceId(runId)}-${process.spanId}-01`), said)
  }
})
