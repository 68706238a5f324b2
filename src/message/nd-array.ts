import { npyHeader, parseNpy } from './npy.ts'

/** The numeric types of numpy, by the name that `str(dtype)` gives. */
const dtypes = {
  float16: { code: 'f2', size: 2, view: Float16Array },
  float32: { code: 'f4', size: 4, view: Float32Array },
  float64: { code: 'f8', size: 8, view: Float64Array },
  int8: { code: 'i1', size: 1, view: Int8Array },
  int16: { code: 'i2', size: 2, view: Int16Array },
  int32: { code: 'i4', size: 4, view: Int32Array },
  int64: { code: 'i8', size: 8, view: BigInt64Array },
  uint8: { code: 'u1', size: 1, view: Uint8Array },
  uint16: { code: 'u2', size: 2, view: Uint16Array },
  uint32: { code: 'u4', size: 4, view: Uint32Array },
  uint64: { code: 'u8', size: 8, view: BigUint64Array },
  bool: { code: 'b1', size: 1, view: Uint8Array },
  complex64: { code: 'c8', size: 4, view: Float32Array },
  complex128: { code: 'c16', size: 8, view: Float64Array },
} as const

export type DType = keyof typeof dtypes
export type NumericArray =
  | Float16Array
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array

export const numpyStype = 'numpy.ndarray'

/**
 * A tensor as it travels: a whole NPY file with its type and shape beside it. Make one with {@link NdArray.from}, read one
 * with {@link NdArray.values}; frameworks' own blobs (another `stype`) are carried but not read.
 *
 * @example
 * const weights = NdArray.from(new Float32Array([1, 2, 3, 4]), [2, 2])
 * weights.values() // Float32Array [1, 2, 3, 4], in C order
 */
export class NdArray {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly stype: string
  /** For `numpy.ndarray` the bytes of an `.npy` file. Never written to after construction. */
  readonly data: Uint8Array

  constructor(fields: { dtype: string; shape: readonly number[]; stype: string; data: Uint8Array }) {
    this.dtype = fields.dtype
    this.shape = fields.shape
    this.stype = fields.stype
    this.data = fields.data
  }

  /**
   * Copies `values`, given in C order, once. `shape` defaults to one axis; `dtype` to the type of the values (give `bool`,
   * `complex64` or `complex128` by name: bools are bytes of 0 and 1, complex numbers pairs).
   */
  static from(values: NumericArray, shape?: readonly number[], dtype?: DType): NdArray {
    const name = dtype ?? dtypeOf(values)
    const { code, size, view } = dtypes[name]
    if (values.BYTES_PER_ELEMENT !== view.BYTES_PER_ELEMENT) {
      throw new TypeError(`Values of ${values.constructor.name} cannot be stored as ${name}.`)
    }
    const perElement = code.startsWith('c') ? 2 : 1
    const finalShape = shape ?? [values.length / perElement]
    const count = finalShape.reduce((product, dimension) => product * dimension, 1)
    if (count * perElement !== values.length) {
      throw new RangeError(
        `Shape (${finalShape.join(', ')}) needs ${count} elements, got ${values.length / perElement}.`,
      )
    }
    const header = npyHeader(size === 1 && perElement === 1 ? `|${code}` : `<${code}`, finalShape)
    const data = new Uint8Array(header.length + values.byteLength)
    data.set(header)
    data.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), header.length)
    return new NdArray({ dtype: name, shape: finalShape, stype: numpyStype, data })
  }

  /**
   * The values in C order. A view of `data` where byte order and alignment allow, else a copy: do not write to it.
   * Throws a TypeError for arrays that numpy would need pickle for, and for other stypes.
   */
  values(): NumericArray {
    if (this.stype !== numpyStype) throw new TypeError(`An array of stype '${this.stype}' cannot be read as numbers.`)
    const header = parseNpy(this.data)
    const match = /^([<>|=])(.+)$/.exec(header.descr)
    const entry = Object.values(dtypes).find(({ code }) => code === match?.[2])
    if (!match || !entry) throw new TypeError(`Arrays of numpy type '${header.descr}' are not supported.`)
    const perElement = entry.code.startsWith('c') ? 2 : 1
    const count = header.shape.reduce((product, dimension) => product * dimension, 1) * perElement
    const bytes = this.data.subarray(header.dataOffset, header.dataOffset + count * entry.size)
    if (bytes.length !== count * entry.size) throw new TypeError('The array holds fewer bytes than its shape needs.')
    const bigEndian = match[1] === '>'
    const aligned = bytes.byteOffset % entry.size === 0 && !bigEndian
    const own = aligned ? bytes : Uint8Array.from(bytes)
    if (bigEndian && entry.size > 1) swapBytes(own, entry.size)
    const values = new entry.view(own.buffer as ArrayBuffer, own.byteOffset, count)
    return header.fortranOrder && header.shape.length > 1 ? toCOrder(values, header.shape, perElement) : values
  }
}

function dtypeOf(values: NumericArray): DType {
  const found = (Object.keys(dtypes) as DType[]).find((name) => dtypes[name].view === values.constructor)
  if (!found) throw new TypeError(`Values of ${values.constructor.name} have no numpy type.`)
  return found
}

function swapBytes(bytes: Uint8Array, size: number): void {
  for (let start = 0; start < bytes.length; start += size) bytes.subarray(start, start + size).reverse()
}

/** Column-major to row-major: the last axis becomes the fastest. */
function toCOrder(values: NumericArray, shape: readonly number[], perElement: number): NumericArray {
  const result = values.slice()
  const strides: number[] = []
  let stride = 1
  for (const dimension of shape) {
    strides.push(stride)
    stride *= dimension
  }
  const index = shape.map(() => 0)
  for (let target = 0; target < stride; target++) {
    let source = 0
    for (let axis = 0; axis < shape.length; axis++) source += (index[axis] as number) * (strides[axis] as number)
    for (let part = 0; part < perElement; part++) {
      result[target * perElement + part] = values[source * perElement + part] as never
    }
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1
      if ((index[axis] as number) < (shape[axis] as number)) break
      index[axis] = 0
    }
  }
  return result
}
