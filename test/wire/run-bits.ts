import type { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, type RecordDict } from '../../src/message/records.ts'

/** Records in a form in which `deepEqual` compares every bit. */
export function recordsBits(records: RecordDict): unknown {
  return [...records].map(([name, record]) => [
    name,
    record instanceof ArrayRecord ? bitsOf(record) : [...record.wireEntries()],
  ])
}

export function bitsOf(record: ArrayRecord): unknown {
  return [...record].map(([name, array]) => [name, array.dtype, array.shape, withOneNaN(array)])
}

/** Header and values; which of the many NaNs an array holds is the machine's choice. */
function withOneNaN(array: NdArray): unknown {
  const { values, ...layout } = array.stored()
  const header = Buffer.from(array.data)
    .subarray(0, array.data.length - values.byteLength)
    .toString('latin1')
  return { header, layout, values: [...values] }
}

/** Stands in for noise, in Python too. */
export function recordedNoise(): () => number {
  let count = 0
  return () => [1, -0.5, 0.25][count++ % 3] as number
}
