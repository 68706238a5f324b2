import assert from 'node:assert/strict'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { startTraceCollector } from '../../test/harness/trace-collector.ts'
import { openTraces } from './trace-export.ts'
import { spanId, traceId } from './traces.ts'

const library = '@opentelemetry/'
const span = { name: 'run', runId: 7n, startedAt: 1, endedAt: 2, attributes: {} }

test('without an endpoint nothing is recorded, and only a program with one loads OpenTelemetry', async () => {
  const { log, lines } = recordingLogger()
  await using traces = await openTraces(undefined, 'test', { log })
  traces.record(span)
  assert.deepEqual(lines, [])
  const source = join(import.meta.dirname, '..')
  const sources = globSync('**/*.ts', { cwd: source }).filter((path) => !path.endsWith('.test.ts'))
  const importers = sources.filter((path) => readFileSync(join(source, path), 'utf8').includes(`'${library}`))
  assert.deepEqual(importers, ['base/trace-export.ts'])
  assert.doesNotMatch(readFileSync(join(source, 'base/trace-export.ts'), 'utf8'), new RegExp(`from '${library}`))
})

test('a collector that is away costs a warning, and nothing fails', async () => {
  const { log, lines } = recordingLogger()
  {
    await using traces = await openTraces({ endpoint: 'http://127.0.0.1:9/secret' }, 'test', { log, sendMs: 50 })
    traces.record(span)
  }
  assert.match(JSON.stringify(lines), /Traces are lost: the collector http:\/\/127.0.0.1:9 does not take them/)
})

test('a collector that accepts connections and never responds does not hold up the end of a program', async () => {
  await using silent = createServer()
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  silent.on('connection', (socket) => socket.resume())
  const { log, lines } = recordingLogger()
  const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
  {
    await using traces = await openTraces({ endpoint }, 'test', { log, sendMs: 50 })
    traces.record(span)
  }
  assert.match(lines.join(), /Traces are lost/)
})

test('a collector with a certificate of a private CA is trusted by its CA, and only so', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  await using collector = await startTraceCollector((await ca.server()).issued)
  const { endpoint } = collector
  const { log, lines } = recordingLogger()
  {
    await using traces = await openTraces({ endpoint }, 'test', { log })
    traces.record(span)
  }
  assert.match(lines.join(), /Traces are lost: .*certificate/)
  assert.deepEqual(collector.spans, [])
  {
    const trusted = { endpoint, ca: { pem: ca.issued.certificatePem, path: ca.certfile } }
    await using traces = await openTraces(trusted, 'test', { log })
    traces.record(span)
  }
  assert.deepEqual(
    collector.spans.map(({ name, service, traceId }) => [name, service, traceId]),
    [['run', 'test', traceId(7n)]],
  )
})

test('a span with an outer span is a part of its trace, and links to the run', async () => {
  await using collector = await startTraceCollector()
  const { log, lines } = recordingLogger()
  const outer = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 }
  {
    await using traces = await openTraces({ endpoint: collector.endpoint }, 'test', { log })
    traces.record({ ...span, parent: 'run 7', outer })
  }
  assert.deepEqual(lines, [])
  const [sent] = collector.spans
  assert.deepEqual([sent?.traceId, sent?.parentSpanId], [outer.traceId, outer.spanId])
  assert.deepEqual(
    sent?.links.map((link) => [link.traceId, link.spanId]),
    [[traceId(7n), spanId('run 7')]],
  )
})
