import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NdArray } from './nd-array.ts'
import { recordBytes } from './record-bytes.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from './records.ts'

test('the size of records counts arrays, bytes, texts, and every element of a list', () => {
  const large = 100_000
  const each = [
    new ArrayRecord({ a: NdArray.from(new Float64Array(large / 8)) }),
    new ConfigRecord({ b: new Uint8Array(large) }),
    new ConfigRecord({ b: [new Uint8Array(large / 2), new Uint8Array(large / 2)] }),
    new ConfigRecord({ c: 'x'.repeat(large / 2) }),
    new MetricRecord({ d: Array.from({ length: large / 8 }, () => 0.5) }),
  ]
  for (const record of each) {
    const bytes = recordBytes(new RecordDict({ record }))
    assert.ok(bytes >= large && bytes < large + 1000, `${record.constructor.name}: ${bytes}`)
  }
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`key ${index}`, index]))
  assert.ok(recordBytes(new RecordDict({ record: new ConfigRecord(many) })) > 64_000)
})
