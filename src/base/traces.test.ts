import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTraceParent, spanId, traceId, traceParent } from './traces.ts'

test('a traceparent names a span of the trace of a run', () => {
  const expected = { traceId: traceId(7n), spanId: spanId('run 7'), traceFlags: 1 }
  assert.deepEqual(parseTraceParent(traceParent(7n, 'run 7')), expected)
  const [trace, span] = ['a'.repeat(32), 'b'.repeat(16)]
  assert.equal(parseTraceParent(`00-${trace}-${span}-00`)?.traceFlags, 0)
  assert.equal(parseTraceParent(`cc-${trace}-${span}-01-what a later version adds`)?.spanId, span)
})

test('a text that is no traceparent is ignored', () => {
  const [trace, span] = ['a'.repeat(32), 'b'.repeat(16)]
  const wrong = [
    '',
    'x',
    `ff-${trace}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
  ]
  for (const text of [...wrong, `00-${trace.toUpperCase()}-${span}-01`, `00-${trace}-${span}`])
    assert.equal(parseTraceParent(text), undefined, text)
})
