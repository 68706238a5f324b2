import type { NumericArray } from './dtype.ts'

/** From the other byte order to this machine's and back, in place. */
export function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (size === 2) buffer.swap16()
  else if (size === 4) buffer.swap32()
  else buffer.swap64()
}

/** A copy in which the first axis is the fastest, of values in which the last one is. */
export function toColumnMajor<V extends NumericArray>(
  values: V,
  shape: readonly number[],
  entriesPerNumber: number,
): V {
  // Row-major values of a shape are column-major values of the reversed shape.
  return toRowMajor(values, shape.toReversed(), entriesPerNumber)
}

/** A copy in which the last axis is the fastest, of values in which the first one is. */
export function toRowMajor<V extends NumericArray>(values: V, shape: readonly number[], entriesPerNumber: number): V {
  const result = values.slice() as V
  // Walks the target in its order; `source` follows with the stride of each axis, like the wheels of a counter.
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, length) => product * length, 1))
  const position = shape.map(() => 0)
  const count = values.length / entriesPerNumber
  let source = 0
  for (let target = 0; target < count; target++) {
    for (let part = 0; part < entriesPerNumber; part++)
      result[target * entriesPerNumber + part] = values[source * entriesPerNumber + part] as never
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number
      const stride = strides[axis] as number
      source += stride
      position[axis] = (position[axis] as number) + 1
      if ((position[axis] as number) < length) break
      source -= stride * length
      position[axis] = 0
    }
  }
  return result
}
