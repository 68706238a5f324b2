import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { readTraceTarget } from './trace-options.ts'

test('the flags about traces are read, and wrong ones are refused with what to give instead', async () => {
  using directory = temporaryDirectory()
  const { certfile, issued } = await TestCa.create(directory.path)
  const endpoint = 'https://collector:4318'
  const ca = { pem: issued.certificatePem, path: certfile }
  assert.equal(readTraceTarget({}), undefined)
  assert.deepEqual(readTraceTarget({ otlpEndpoint: 'http://127.0.0.1:4318/' }), { endpoint: 'http://127.0.0.1:4318' })
  assert.deepEqual(readTraceTarget({ otlpEndpoint: endpoint, otlpCaCertfile: certfile }), { endpoint, ca })
  const refusals = [
    [{ otlpEndpoint: 'localhost:4318' }, /must be an http or https URL, for example http:\/\/127\.0\.0\.1:4318/],
    [{ otlpEndpoint: 'https://me:secret@collector' }, /^(?!.*secret@).*OTEL_EXPORTER_OTLP_HEADERS/],
    [{ otlpCaCertfile: certfile }, /add --otlp-endpoint/],
    [{ otlpEndpoint: 'http://collector', otlpCaCertfile: certfile }, /has no effect without TLS/],
    [{ otlpEndpoint: endpoint, otlpCaCertfile: directory.file('none.pem') }, /--otlp-ca-certfile.*none\.pem/],
  ] as const
  for (const [values, message] of refusals) assert.throws(() => readTraceTarget(values), { message })
})
