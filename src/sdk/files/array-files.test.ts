import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomFrom } from '../../../test/harness/random.ts'
import { writeStoredZip } from '../../base/zip-write.ts'
import { fromBfloat16, toBfloat16 } from '../../message/convert.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import { decodeNpz, encodeNpz } from './npz.ts'
import { decodeSafetensors, encodeSafetensors } from './safetensors.ts'

const model = new ArrayRecord([
  ['10', NdArray.from(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3])],
  ['2', NdArray.from(new Uint8Array([1, 0, 1]), [3], 'bool')],
  ['step', NdArray.from(new BigInt64Array([-7n]), [])],
  ['none', NdArray.from(new Float64Array(0), [0, 4])],
])
const shown = (arrays: ArrayRecord) => [...arrays].map(([name, { data }]) => [name, Buffer.from(data).toString('hex')])

test('a model comes back from .npz and safetensors files as it was, in its order', async () => {
  assert.deepEqual(shown(await decodeNpz(encodeNpz(model))), shown(model))
  const { arrays, metadata } = decodeSafetensors(encodeSafetensors(model, { metadata: { round: '3', ä: '"' } }))
  // The widest numbers come first, else the order stays.
  assert.deepEqual([...arrays.keys()], ['step', 'none', '10', '2'])
  assert.deepEqual(shown(arrays).sort(), shown(model).sort())
  const same = new ArrayRecord(['10', '2', 'b', '0'].map((name) => [name, model.getArray('10')] as const))
  assert.deepEqual(shown(decodeSafetensors(encodeSafetensors(same)).arrays), shown(same))
  assert.deepEqual(metadata, { round: '3', ä: '"' })
  assert.equal(decodeSafetensors(encodeSafetensors(new ArrayRecord())).arrays.size, 0)
})

/** Written by the package `safetensors` 0.8.0 for numpy: three arrays, one of bfloat16, and metadata. */
const theirs = Buffer.from(
  '2AAAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCJ9LCJpZHMiOnsiZHR5cGUiOiJJNjQiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOlswLDE2XX0sIndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMiwyXSwiZGF0YV9vZmZzZXRzIjpbMTYsMzJdfSwiaGFsZiI6eyJkdHlwZSI6IkJGMTYiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOlszMiwzOF19fSAgICAgICABAAAAAAAAAP//////////AADAPwAAAMAAAAAAAABAQIA/AL+Afw==',
  'base64',
)

test('a file of the package safetensors is read', () => {
  const { arrays, metadata } = decodeSafetensors(theirs)
  assert.deepEqual(metadata, { format: 'np' })
  const values = Object.fromEntries(
    [...arrays].map(([name, array]) => [name, [array.dtype, array.shape, [...array.values()]]]),
  )
  assert.deepEqual(values, {
    weight: ['float32', [2, 2], [1.5, -2, 0, 3]],
    half: ['float32', [3], [1, -0.5, Infinity]],
    ids: ['int64', [2], [1n, -1n]],
  })
})

test('floats are written as another type if that is wanted, and other numbers stay', () => {
  const weights = new ArrayRecord({
    w: NdArray.from(new Float64Array([1 / 3, 2])),
    n: NdArray.from(new Uint8Array([7])),
  })
  const types = (floats: 'bfloat16' | 'float16') =>
    [...decodeSafetensors(encodeSafetensors(weights, { floats })).arrays.values()].map((array) => [
      array.dtype,
      [...array.values()],
    ])
  assert.deepEqual(types('bfloat16'), [
    ['float32', [0.333984375, 2]],
    ['uint8', [7]],
  ])
  assert.deepEqual(types('float16'), [
    ['float16', [0.333251953125, 2]],
    ['uint8', [7]],
  ])
})

test('bfloat16 rounds to the nearest, ties to even', () => {
  const bits = new Uint32Array([
    0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7f800001, 0xff800000, 0x00008000,
  ])
  const halves = toBfloat16(new Float32Array(bits.buffer))
  assert.deepEqual([...halves], [0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x7fc0, 0xff80, 0x0000])
  assert.deepEqual([...fromBfloat16(halves)].slice(0, 5), [1, 1, 1.015625, 1.0078125, Infinity])
})

/** A safetensors file with that list and so many bytes of values. */
function file(list: string, bytes = 8): Buffer {
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(BigInt(Buffer.byteLength(list)))
  return Buffer.concat([head, Buffer.from(list), Buffer.alloc(bytes)])
}
const tensor = (fields: object): string =>
  JSON.stringify({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields } })

test('an array that begins at an odd place is read, also from a Buffer', () => {
  const one = { shape: [1] }
  const list = JSON.stringify({
    b: { ...one, dtype: 'U8', data_offsets: [0, 1] },
    w: { ...one, dtype: 'BF16', data_offsets: [1, 3] },
  })
  for (const padding of ['', ' ']) {
    const { arrays } = decodeSafetensors(file(list + padding, 3))
    assert.deepEqual([...arrays.getArray('w').values('float32')], [0])
  }
})

test('safetensors files that are damaged or lie are refused with the reason', () => {
  const wrong: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(7), /fewer than 8 bytes/],
    [Buffer.alloc(8, 0xff), /its list would take 18446744073709551615 bytes/],
    [file(tensor({})).subarray(0, 20), /its list is cut short/],
    [file(` ${tensor({})}`), /no JSON object/],
    [file('{"w":'), /its list is no JSON/],
    [file(`{"w":${'['.repeat(100_000)}`), /its list is no JSON/],
    [file(tensor({ dtype: 'F4' })), /'w' in the safetensors file is of type F4, which is not supported/],
    [file(tensor({ dtype: 'constructor' })), /not supported/],
    [file(tensor({ shape: [-2] })), /'w' has no shape/],
    [file(tensor({ shape: [2 ** 53] })), /'w' has no shape/],
    [file(tensor({ shape: Array(65).fill(1) })), /'w' has no shape/],
    [file(tensor({ shape: [3] })), /'w' needs 12 bytes and has 8/],
    [file(tensor({ shape: [2 ** 40, 2 ** 40] })), /'w' needs/],
    [file(tensor({ data_offsets: [0, 16] })), /'w' lies outside of the file/],
    [file(tensor({ data_offsets: [8, 0] })), /'w' lies outside of the file/],
    [file(tensor({ data_offsets: [0] })), /'w' has no place/],
    [file(tensor({}), 9), /the arrays end at byte 8 of 9/],
    [file('{"w":5}'), /'w' in the safetensors file is of type undefined/],
    [file('{"__metadata__":{"a":1}}', 0), /holds more than texts/],
    [
      file('{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}'),
      /'b' does not begin where the array before it ends/,
    ],
  ]
  for (const [bytes, message] of wrong) assert.throws(() => decodeSafetensors(bytes), { name: 'TypeError', message })
})

test('.npz files that are damaged or too large are refused with the reason', async () => {
  const npz = encodeNpz(model)
  const array = NdArray.from(new Float32Array([1])).data
  const wrong: readonly (readonly [Uint8Array, RegExp])[] = [
    [npz.subarray(0, -30), /Not a valid \.npz file/],
    [npz.map((byte, index) => (index === 140 ? byte ^ 1 : byte)), /damaged \(CRC\)/],
    [writeStoredZip([['w.npy', array.subarray(0, -1)]]), /'w' in the \.npz file cannot be read: .*fewer bytes/],
    [writeStoredZip([['w.npy', Buffer.from('text')]]), /'w' in the \.npz file cannot be read: Not an NPY array/],
    [
      writeStoredZip([
        ['w.npy', array],
        ['w', array],
      ]),
      /holds the array 'w' twice/,
    ],
  ]
  for (const [bytes, message] of wrong) await assert.rejects(decodeNpz(bytes), { name: 'TypeError', message })
  await assert.rejects(decodeNpz(npz, { bytesMax: 700 }), /more than 700 bytes|larger than 700 bytes/)
  assert.throws(
    () => encodeNpz(new ArrayRecord({ w: new NdArray({ dtype: 'x', shape: [], stype: 'torch', data: array }) })),
    /stype 'torch'/,
  )
})

test('no change of a byte in a safetensors file does more than fail or give other values', () => {
  const random = randomFrom(3)
  const bytes = encodeSafetensors(model)
  for (let round = 0; round < 500; round++) {
    const changed = bytes.slice()
    for (let count = 0; count <= random(3); count++) changed[random(changed.length)] = random(256)
    try {
      decodeSafetensors(changed)
    } catch (error) {
      assert.ok(error instanceof TypeError, String(error))
      assert.match(error.message, /safetensors file/)
    }
  }
})

test('a float that does not fit into an integer is an error, and so is a complex number that should be real', () => {
  const array = NdArray.from(new Float64Array([1, 300]))
  assert.throws(() => array.astype('uint8'), /300 does not fit into uint8: clip or scale/)
  assert.throws(() => NdArray.from(new Float32Array([Number.NaN])).astype('int64'), /NaN does not fit into int64/)
  assert.throws(() => NdArray.from(new Float64Array([1, 1]), [1], 'complex128').astype('float64'), /imaginary part/)
  assert.equal(array.astype('float64'), array)
})
