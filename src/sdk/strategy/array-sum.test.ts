import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { type DType, dtypes } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArraySum } from './array-sum.ts'

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

function addInPieces(sum: ArraySum, array: NdArray, factor: number, pieces = piecesOf(array)): void {
  for (const [index, bytes] of pieces.entries()) {
    const at = { isFirst: index === 0, isLast: index === pieces.length - 1 }
    sum.addPiece({ stype: array.stype, ...at }, bytes, factor)
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
  test(`arrays that arrive in pieces have the sum of whole ones: ${what}`, () => {
    const [whole, inPieces] = [new ArraySum('w'), new ArraySum('w')]
    for (const [index, array] of arrays.entries()) {
      whole.add(array, 1 / (index + 3))
      addInPieces(inPieces, array, 1 / (index + 3))
    }
    assert.deepEqual(inPieces.array.layout(), whole.array.layout())
    assert.ok(Buffer.from(whole.array.data).equals(inPieces.array.data), 'the bytes differ')
  })

test('an array that ends early, or has another shape than the first, is refused', () => {
  const array = arrayOf('float32')
  const pieces = piecesOf(array)
  assert.throws(() => addInPieces(new ArraySum('w'), array, 1, pieces.slice(0, -1)), /fewer bytes than its shape needs/)
  const sum = new ArraySum('w')
  sum.add(NdArray.from(new Float32Array(4)), 1)
  assert.throws(() => addInPieces(sum, array, 1), /'w' of the replies have different shapes: \(4\) and \(300, 200\)/)
})
