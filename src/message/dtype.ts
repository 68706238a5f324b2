/** The typed array that holds the values of each numeric type of numpy: bools are bytes, complex numbers pairs. */
export interface ValuesByType {
  float16: Float16Array
  float32: Float32Array
  float64: Float64Array
  int8: Int8Array
  int16: Int16Array
  int32: Int32Array
  int64: BigInt64Array
  uint8: Uint8Array
  uint16: Uint16Array
  uint32: Uint32Array
  uint64: BigUint64Array
  bool: Uint8Array
  complex64: Float32Array
  complex128: Float64Array
}

/** A numeric type by the name that numpy's `str(dtype)` gives it. */
export type DType = keyof ValuesByType
/** A typed array that holds the values of some numeric type. */
export type NumericArray = ValuesByType[DType]

interface DTypeFacts<D extends DType> {
  /** The type string of numpy without the byte order. */
  readonly code: string
  readonly view: (new (
    buffer: ArrayBufferLike,
    byteOffset: number,
    length: number,
  ) => ValuesByType[D]) & {
    readonly BYTES_PER_ELEMENT: number
  }
}

export const dtypes: { readonly [D in DType]: DTypeFacts<D> } = {
  float16: { code: 'f2', view: Float16Array },
  float32: { code: 'f4', view: Float32Array },
  float64: { code: 'f8', view: Float64Array },
  int8: { code: 'i1', view: Int8Array },
  int16: { code: 'i2', view: Int16Array },
  int32: { code: 'i4', view: Int32Array },
  int64: { code: 'i8', view: BigInt64Array },
  uint8: { code: 'u1', view: Uint8Array },
  uint16: { code: 'u2', view: Uint16Array },
  uint32: { code: 'u4', view: Uint32Array },
  uint64: { code: 'u8', view: BigUint64Array },
  bool: { code: 'b1', view: Uint8Array },
  complex64: { code: 'c8', view: Float32Array },
  complex128: { code: 'c16', view: Float64Array },
}

/** How many entries of the typed array one number takes. */
export function entriesPerNumber(dtype: DType): 1 | 2 {
  return isComplex(dtype) ? 2 : 1
}

export function isComplex(dtype: DType): boolean {
  return dtype === 'complex64' || dtype === 'complex128'
}

/** The type string of an NPY file, in the byte order of this machine and of nearly all others. */
export function descrOf(dtype: DType): string {
  return `${dtypes[dtype].view.BYTES_PER_ELEMENT === 1 ? '|' : '<'}${dtypes[dtype].code}`
}

/** Reads a type string; `undefined` when it is none of the numeric types. */
export function parseDescr(descr: string): { dtype: DType; bigEndian: boolean } | undefined {
  const dtype = (Object.keys(dtypes) as DType[]).find((name) => dtypes[name].code === descr.slice(1))
  return dtype && '<>|='.includes(descr.charAt(0)) ? { dtype, bigEndian: descr.startsWith('>') } : undefined
}

/** The numeric type that values of that typed array have by default. */
export function dtypeOfValues(values: NumericArray): DType {
  const found = (Object.keys(dtypes) as DType[]).find((name) => holds(values, name))
  if (!found) throw new TypeError(`Values of ${nameOf(values)} have no numpy type.`)
  return found
}

/** Whether such values can be stored as that type without a conversion. */
export function holds(values: NumericArray, dtype: DType): boolean {
  // A Buffer is a Uint8Array, so the tag is compared and not the class.
  return values[Symbol.toStringTag] === dtypes[dtype].view.name
}

export function nameOf(values: unknown): string {
  return (values as { constructor?: { name?: string } } | null)?.constructor?.name ?? String(values)
}
