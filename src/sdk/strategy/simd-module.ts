/**
 * The bytes of a WebAssembly module that multiplies and adds four float32 or two float64 at a time. Written with the names
 * and codes of the specification (core 3.0, "binary format"). For each type there are two functions, both over
 * `(sum, part, end, factor)`, addresses in bytes, of a length that is a multiple of `stepBytes` above 0:
 *
 *     do { sum[] = part[] * factor; sum += step; part += step } while (sum < end)              scale
 *     do { sum[] = sum[] + part[] * factor; sum += step; part += step } while (sum < end)      add
 *
 * Products and sums are rounded one after the other, as in a plain loop: there is no fused operation.
 */

interface Lanes {
  /** The type of one number. */
  readonly number: number
  readonly splat: readonly number[]
  readonly mul: readonly number[]
  readonly add: readonly number[]
}

const simd = 0xfd
const f32x4: Lanes = { number: 0x7d, splat: [simd, 0x13], mul: [simd, 0xe6, 0x01], add: [simd, 0xe4, 0x01] }
const f64x2: Lanes = { number: 0x7c, splat: [simd, 0x14], mul: [simd, 0xf2, 0x01], add: [simd, 0xf0, 0x01] }
const i32 = 0x7f
const v128 = 0x7b
const vectorBytes = 16
const vectorsPerStep = 4

/** What one turn of the loops works on. */
export const stepBytes = vectorBytes * vectorsPerStep

/** Imports `env.memory`; exports `scale32`, `add32`, `scale64` and `add64`. */
export function simdModule(): Uint8Array<ArrayBuffer> {
  const functionType = (lanes: Lanes): number[] => [0x60, ...vector([[i32], [i32], [i32], [lanes.number]]), 0]
  const exported = (name: string, index: number): number[] => [...text(name), 0x00, index]
  const importedMemory = [...text('env'), ...text('memory'), 0x02, 0x00, 0x01]
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector([functionType(f32x4), functionType(f64x2)])),
    ...section(2, vector([importedMemory])),
    ...section(3, vector([[0], [0], [1], [1]])),
    ...section(7, vector(['scale32', 'add32', 'scale64', 'add64'].map(exported))),
    ...section(10, vector([loop(f32x4, false), loop(f32x4, true), loop(f64x2, false), loop(f64x2, true)].map(sized))),
  ])
}

function loop(lanes: Lanes, adds: boolean): number[] {
  const [sum, part, end, factor, factors] = [0, 1, 2, 3, 4]
  const step = Array.from({ length: vectorsPerStep }, (_, index) => {
    const offset = index * vectorBytes
    const product = [...get(part), ...load(offset), ...get(factors), ...lanes.mul]
    const value = adds ? [...get(sum), ...load(offset), ...product, ...lanes.add] : product
    return [...get(sum), ...value, ...store(offset)]
  })
  const oneLocal = [1, 1, v128]
  return [
    ...oneLocal,
    ...[...get(factor), ...lanes.splat, ...set(factors)],
    ...[0x03, 0x40], // loop
    ...step.flat(),
    ...[...get(part), ...constant(stepBytes), 0x6a, ...set(part)], // i32.add
    ...[...get(sum), ...constant(stepBytes), 0x6a, ...set(sum)],
    ...[...get(sum), ...get(end), 0x49, 0x0d, 0x00], // i32.lt_u, br_if 0
    ...[0x0b, 0x0b], // end, end
  ]
}

const get = (local: number): number[] => [0x20, local]
const set = (local: number): number[] => [0x21, local]
/** Alignment is a hint: 2 ** 2 bytes is what every array has. */
const load = (offset: number): number[] => [simd, 0x00, 0x02, ...unsigned(offset)]
const store = (offset: number): number[] => [simd, 0x0b, 0x02, ...unsigned(offset)]
/** Of a number below 2 ** 6 in one byte, else in two: the highest bit of a signed number is its sign. */
const constant = (value: number): number[] => [0x41, ...(value < 64 ? [value] : [(value & 0x7f) | 0x80, value >> 7])]

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

function text(value: string): number[] {
  return [...unsigned(value.length), ...Buffer.from(value)]
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()]
}

function sized(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes]
}

function section(id: number, bytes: readonly number[]): number[] {
  return [id, ...sized(bytes)]
}
