import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { openTraces, readTraceEndpoint } from './trace-export.ts'

const library = '@opentelemetry/'
const span = { name: 'run', runId: 7n, startedAt: 1, endedAt: 2, attributes: {} }

test('without an endpoint nothing is recorded, and only a program with one loads OpenTelemetry', async () => {
  const { log, lines } = recordingLogger()
  await using traces = await openTraces(readTraceEndpoint({}), 'test', { log })
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
    await using traces = await openTraces('http://127.0.0.1:9', 'test', { log })
    traces.record(span)
  }
  assert.match(JSON.stringify(lines), /Traces are lost: the collector http:\/\/127.0.0.1:9 does not take them/)
})

test('an endpoint that is no URL is refused with an example', () => {
  assert.throws(() => readTraceEndpoint({ otlpEndpoint: 'localhost:4318' }), /http:\/\/127\.0\.0\.1:4318/)
  assert.equal(readTraceEndpoint({ otlpEndpoint: 'http://127.0.0.1:4318/' }), 'http://127.0.0.1:4318')
})
