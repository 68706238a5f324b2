import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { type DType, dtypes } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArraySum } from './array-sum.ts'
import type { ArrivingArray } from './arriving-array.ts'

type Four<T> = [T, T, T, T]

const random = randomFrom(31)
/** Enough for several pieces that are added before the rest is there. */
const rows = 300
const columns = 200

function arrayOf(dtype: DType, fortranOrder = false): NdArray {
  const { array } = NdArray.draft(dtype, [rows, columns], fortranOrder)
  const header = array.header()
  for (let at = header.dataOffset; at < array.data.length; at++) array.data[at] = randomByte(dtype)
  return array
}

/** No NaN: which of the many an array holds is the machine's choice. */
function randomByte(dtype: DType): number {
  return dtype === 'bool' ? random(2) : random(0x70)
}

function piecesOf(array: NdArray): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let start = 0; start < array.data.length; ) {
    const end = start + 64 * 1024 + random(30_000)
    pieces.push(array.data.slice(start, end))
    start = end
  }
  return pieces
}

/** An array whose pieces arrive one after the other. A piece is overwritten when the next one arrives. */
function arriving(array: NdArray, factor: number, pieces = piecesOf(array)): ArrivingArray {
  let taken = 0
  return {
    ...{ stype: array.stype, factor },
    async next() {
      pieces[taken - 1]?.fill(0xff)
      taken += 1
      return { bytes: pieces[taken - 1] as Uint8Array, isLast: taken === pieces.length }
    },
  }
}

const cases: [string, NdArray[]][] = [
  ...(Object.keys(dtypes) as DType[]).map((dtype): [string, NdArray[]] => [
    dtype,
    [arrayOf(dtype), arrayOf(dtype), arrayOf(dtype)],
  ]),
  ['column-major arrays', [arrayOf('float32', true), arrayOf('float32', true)]],
  ['both memory orders', [arrayOf('float32', true), arrayOf('float32'), arrayOf('float32', true)]],
  ['several types', [arrayOf('float32'), arrayOf('float64'), arrayOf('int16'), arrayOf('float16')]],
  ['real beside complex', [arrayOf('complex64'), arrayOf('float32')]],
]

for (const [what, arrays] of cases)
  test(`arrays that arrive in pieces, or several at a time, have the sum of one after the other: ${what}`, async () => {
    const weighted = arrays.map((array, index) => ({ array, factor: 1 / (index + 3) }))
    const [single, together, inPieces, inStep] = Array.from({ length: 4 }, () => new ArraySum('w')) as Four<ArraySum>
    for (const one of weighted) single.add([one])
    together.add(weighted)
    for (const { array, factor } of weighted) await inPieces.addArriving([arriving(array, factor)])
    const [first, ...others] = weighted.map(({ array, factor }) => arriving(array, factor)) as [ArrivingArray]
    await inStep.addArriving([first])
    await inStep.addArriving(others)
    for (const sum of [together, inPieces, inStep]) {
      assert.deepEqual(sum.array.layout(), single.array.layout())
      assert.ok(Buffer.from(single.array.data).equals(sum.array.data), 'the bytes differ')
    }
  })

test('single numbers of several types have the sum of one after the other, together and while they arrive', async () => {
  const dtypesOfNumbers: DType[] = ['float32', 'float32', 'float64', 'float16', 'float32']
  const weighted = dtypesOfNumbers.map((dtype, index) => ({
    array: NdArray.from(new Float64Array([0.1 + index]), []).astype(dtype),
    factor: 1 / (index + 3),
  }))
  const [single, together, inStep] = [new ArraySum('w'), new ArraySum('w'), new ArraySum('w')]
  for (const one of weighted) single.add([one])
  together.add(weighted)
  await inStep.addArriving(weighted.map(({ array, factor }) => arriving(array, factor)))
  for (const sum of [together, inStep]) assert.deepEqual(sum.array.data, single.array.data)
})

test('an array that ends early, or has another shape than the first, is refused', async () => {
  const array = arrayOf('float32')
  const cut = arriving(array, 1, piecesOf(array).slice(0, -1))
  await assert.rejects(new ArraySum('w').addArriving([arriving(array, 1), cut]), /fewer bytes than its shape needs/)
  const sum = new ArraySum('w')
  sum.add([{ array: NdArray.from(new Float32Array(4)), factor: 1 }])
  await assert.rejects(
    sum.addArriving([arriving(array, 1)]),
    /'w' of the replies have different shapes: \(4\) and \(300, 200\)/,
  )
})
