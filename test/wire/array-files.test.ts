import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { DType } from '../../src/message/dtype.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord } from '../../src/message/records.ts'
import { decodeNpz, encodeNpz } from '../../src/sdk/files/npz.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { pythonOf, withoutReleases } from '../harness/python-flower.ts'
import { randomFrom } from '../harness/random.ts'

const floats = ['float16', 'float32', 'float64'] as const
const integers = ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'] as const
const complex = ['complex64', 'complex128'] as const
const random = randomFrom(11)
const bits = (count: number): number[] => Array.from({ length: count }, () => random(2 ** 32))

/** Halves between neighbours, the smallest and largest numbers, and any bits. */
function widest(): Float64Array {
  const halves = [1, 3, 5, 2047, 2049, 4097].flatMap((odd) => [odd / 2048, 1 + odd * 2 ** -11, 1 + odd * 2 ** -24])
  const edges = [
    0,
    -0,
    Infinity,
    -Infinity,
    Number.NaN,
    65504,
    65519.99,
    65520,
    3.4028235677973366e38,
    5e-324,
    2 ** -25,
  ]
  const tiny = [2 ** -24 * 1.5, 2 ** -149 * 0.5, 2 ** -149 * 1.5, 1 + 2 ** -24 + 2 ** -50, 1 + 2 ** -11 + 2 ** -40]
  const any = new Float64Array(new Uint32Array(bits(400)).buffer).map((value) => (Number.isNaN(value) ? 1 : value))
  const moderate = Array.from({ length: 200 }, () => (random(2 ** 32) / 2 ** 20 - 2048) / 3)
  return new Float64Array([...halves, ...edges, ...tiny, ...any, ...moderate])
}

/** Arrays by what numpy is to do with them. */
function sources(): ArrayRecord {
  const wide = widest()
  const large = new BigInt64Array([
    ...[
      0n,
      -1n,
      2n ** 63n - 1n,
      -(2n ** 63n),
      2n ** 53n + 1n,
      2n ** 24n + 1n,
      2n ** 25n + 3n,
      2n ** 54n + 2n ** 30n + 1n,
    ],
    ...new BigInt64Array(new Uint32Array(bits(100)).buffer),
  ])
  const numbers = ['bool', ...floats, ...complex, ...integers].join(',')
  const record = new ArrayRecord()
  for (const from of floats) {
    const array = NdArray.from(wide).astype(from)
    record.set(`${from} to ${[...floats, ...complex, 'bool'].join(',')}`, array)
    record.set(
      `small ${from} to ${integers.join(',')}`,
      NdArray.from(new Float64Array([0.9, -0.9, 1.5, 99.99, -0])).astype(from),
    )
  }
  for (const from of integers) record.set(`${from} to ${numbers}`, NdArray.from(large).astype(from))
  record.set(`bool to ${numbers}`, NdArray.from(new Uint8Array([1, 0]), [2], 'bool'))
  for (const from of complex)
    record.set(
      `${from} to ${[...complex, 'bool'].join(',')}`,
      NdArray.from(new Float64Array([0, 0, 1.1, -2, 0, 3]), [3], 'complex128').astype(from),
    )
  return record
}

test('numpy reads our .npz files, we read its, and conversions have the same bits', {
  skip: withoutReleases('1.29'),
}, async () => {
  using directory = temporaryDirectory()
  const given = sources()
  writeFileSync(directory.file('sources.npz'), encodeNpz(given))
  const script = join(import.meta.dirname, 'python', 'arrays.py')
  await promisify(execFile)(pythonOf('1.29'), [script, directory.path])
  const read = (name: string): Promise<ArrayRecord> => decodeNpz(readFileSync(directory.file(name)))

  const converted = await read('converted.npz')
  let compared = 0
  for (const [name, array] of given) {
    for (const to of (name.split(' to ')[1] as string).split(',') as DType[]) {
      const [ours, numpys] = [array.astype(to), converted.getArray(`${name} ${to}`)]
      assert.deepEqual(ours.values(), numpys.values(), `${name}: ${to}`)
      assert.deepEqual(Buffer.from(ours.data), Buffer.from(numpys.data), `${name}: ${to}`)
      compared++
    }
  }
  assert.equal(compared, 3 * 6 + 3 * 8 + 8 * 14 + 14 + 2 * 3)

  const layouts = await read('layouts.npz')
  assert.deepEqual(
    [...layouts].map(([name, array]) => [name, array.dtype, array.shape, [...array.values()]]),
    [
      ['fortran', 'float32', [2, 3], [0, 1, 2, 3, 4, 5]],
      ['big endian', 'int64', [4], [0n, 1n, 2n, 3n]],
      ['number', 'float64', [], [2.5]],
      ['empty', 'float16', [0, 3], []],
      ['naïve/layer.0', 'bool', [2], [1, 0]],
    ],
  )
  await assert.rejects(read('objects.npz'), /'bad' in the \.npz file cannot be read: Arrays of numpy type '\|O'/)
})
