import { convertValues } from './convert.ts'
import {
  type DType,
  descrOf,
  dtypeOfValues,
  dtypes,
  entriesPerNumber,
  holds,
  type NumericArray,
  nameOf,
  parseDescr,
  type ValuesByType,
} from './dtype.ts'
import { swapBytes, toRowMajor } from './memory-order.ts'
import { npyHeader, parseNpy } from './npy.ts'

export const numpyStype = 'numpy.ndarray'

/** How an array lies in its file. */
export interface ArrayLayout {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Whether the first axis is the fastest, where that makes a difference. */
  readonly fortranOrder: boolean
}

/** The numbers of an array as they lie in its file, in this machine's byte order. */
export interface StoredValues extends ArrayLayout {
  readonly values: NumericArray
}

/** An array in the making. */
export interface NdArrayDraft<D extends DType> {
  readonly array: NdArray
  readonly values: ValuesByType[D]
}

/**
 * A tensor as it travels: a whole NPY file with its type and shape beside it. It cannot be changed: make one with
 * {@link NdArray.from} or {@link NdArray.build}, read one with {@link NdArray.values}. Blobs of other frameworks (another
 * `stype`) are carried but not read.
 *
 * @example
 * const weights = NdArray.from(new Float32Array([1, 2, 3, 4]), [2, 2])
 * weights.values('float32') // Float32Array [1, 2, 3, 4], row by row
 */
export class NdArray {
  /** `float32`, `int64`, …; what the sender says, which need not be so for arrays of old clients. */
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
   * Copies `values`, given row by row (in C order), once. `shape` defaults to one axis, `[]` is a single number; `dtype`
   * to the type of the values: give `bool`, `complex64` or `complex128` by name (bools are bytes of 0 and 1, complex
   * numbers pairs). Throws when values, type and shape do not fit.
   *
   * @example
   * NdArray.from(new Float32Array(640), [64, 10])
   * NdArray.from(new BigInt64Array([12n]), [])
   * NdArray.from(new Uint8Array([1, 0, 1]), [3], 'bool')
   */
  static from(values: NumericArray, shape?: readonly number[], dtype: DType = dtypeOfValues(values)): NdArray {
    if (!(dtype in dtypes)) throw new TypeError(`There is no array type '${dtype}'.`)
    if (!holds(values, dtype)) throw new TypeError(`Values of ${nameOf(values)} cannot be stored as ${dtype}.`)
    const numbers = values.length / entriesPerNumber(dtype)
    const finalShape = shape ?? [numbers]
    if (countOf(finalShape) !== numbers)
      throw new RangeError(`Shape (${finalShape.join(', ')}) needs ${countOf(finalShape)} values, got ${numbers}.`)
    return NdArray.build(dtype, finalShape, (target) => (target.set as (source: NumericArray) => void)(values))
  }

  /**
   * Makes an array in place, without a copy: `fill` writes the values, which are 0 before, row by row. It must not keep
   * them.
   *
   * @example
   * const bias = NdArray.build('float32', [10], (values) => values.fill(0.1))
   */
  static build<D extends DType>(dtype: D, shape: readonly number[], fill: (values: ValuesByType[D]) => void): NdArray {
    const { array, values } = NdArray.draft(dtype, shape, false)
    fill(values)
    return array
  }

  /** @internal An array of zeros, and its values: they may be written to until the array is used. */
  static draft<D extends DType>(dtype: D, shape: readonly number[], fortranOrder: boolean): NdArrayDraft<D> {
    const { view } = dtypes[dtype]
    const length = countOf(shape) * entriesPerNumber(dtype)
    const header = npyHeader(descrOf(dtype), shape, fortranOrder)
    const data = new Uint8Array(header.length + length * view.BYTES_PER_ELEMENT)
    data.set(header)
    const values = new view(data.buffer, data.byteOffset + header.length, length)
    return { array: new NdArray({ dtype, shape: [...shape], stype: numpyStype, data }), values }
  }

  /**
   * The values row by row (in C order), whatever order they came in. A view of the array's own bytes where byte order,
   * memory order and alignment allow, else a copy: do not write to it, call `.slice()` for values of your own. With a
   * type the result is of that type; throws a TypeError when the array has another, or is none of numbers.
   *
   * @example
   * const weights = arrays.get('weights')!.values('float32').slice()
   */
  values(): NumericArray
  values<D extends DType>(dtype: D): ValuesByType[D]
  values(dtype?: DType): NumericArray {
    const stored = this.stored()
    if (dtype && stored.dtype !== dtype)
      throw new TypeError(`The array holds ${stored.dtype}, not ${dtype}: convert it with .astype('${dtype}').`)
    return stored.fortranOrder ? toRowMajor(stored.values, stored.shape, entriesPerNumber(stored.dtype)) : stored.values
  }

  /**
   * Returns the array with its values converted to another type, as numpy's `astype` does: to the nearest float, ties to even,
   * and integers wrap around. Throws if floats do not fit into an integer type, or if complex numbers should become real.
   *
   * @example
   * const weights = arrays.getArray('weights').astype('float32').values('float32')
   */
  astype(dtype: DType): NdArray {
    if (!(dtype in dtypes)) throw new TypeError(`There is no array type '${dtype}'.`)
    const { dtype: current, shape } = this.layout()
    if (current === dtype) return this
    return NdArray.from(convertValues(this.values(), current, dtype), shape, dtype)
  }

  /** @internal The values without a change of order; as Python, it believes the file and not what is said beside it. */
  stored(): StoredValues {
    const { dataOffset, bigEndian, ...layout } = this.header()
    const { view } = dtypes[layout.dtype]
    const size = view.BYTES_PER_ELEMENT
    const length = countOf(layout.shape) * entriesPerNumber(layout.dtype)
    const bytes = this.data.subarray(dataOffset, dataOffset + length * size)
    if (bytes.length !== length * size) throw new TypeError('The array holds fewer bytes than its shape needs.')
    const swapped = bigEndian && size > 1
    const aligned = swapped || bytes.byteOffset % size !== 0 ? new Uint8Array(bytes) : bytes
    if (swapped) swapBytes(aligned, size)
    return { ...layout, values: new view(aligned.buffer, aligned.byteOffset, length) }
  }

  /** @internal */
  layout(): ArrayLayout {
    return this.header()
  }

  /** @internal The layout, and how the numbers lie in the file. */
  header(): ArrayLayout & { readonly dataOffset: number; readonly bigEndian: boolean } {
    if (this.stype !== numpyStype) throw new TypeError(`An array of stype '${this.stype}' cannot be read as numbers.`)
    const { descr, shape, fortranOrder, dataOffset } = parseNpy(this.data)
    const type = parseDescr(descr)
    if (!type) throw new TypeError(`Arrays of numpy type '${descr}' are not supported.`)
    // With less than two axes to walk along, both orders are one.
    const hasOrder = countOf(shape) > 0 && shape.filter((length) => length > 1).length > 1
    return { ...type, shape, fortranOrder: fortranOrder && hasOrder, dataOffset }
  }
}

/** How many numbers an array of that shape holds; a shape without axes holds one. */
function countOf(shape: readonly number[]): number {
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0))
    throw new RangeError(`(${shape.join(', ')}) is not a shape.`)
  return shape.reduce((product, length) => product * length, 1)
}
