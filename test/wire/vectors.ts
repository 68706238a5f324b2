import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DType, dtypes, entriesPerNumber, type NumericArray } from '../../src/message/dtype.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { type AnyRecord, ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../src/message/records.ts'
import { type ConfigInput, float, type MetricInput } from '../../src/message/value.ts'

/** Reads what `make-vectors.py` wrote, and builds the records that it describes. */

/** Integers are decimal strings, floats JSON numbers or names of special ones, bytes base64. */
type Plain = string | number | boolean
type DescribedValue = Readonly<Record<string, Plain | readonly Plain[]>>
export type DescribedPairs = readonly (readonly [string, DescribedValue])[]

export interface DescribedArray {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly order?: 'F'
  readonly values?: readonly (string | number)[]
  /** The values of a big array, again and again. */
  readonly repeat?: readonly (string | number)[]
  readonly opaque?: { readonly dtype: string; readonly shape: number[]; readonly stype: string; readonly data: string }
  readonly npy?: string
  /** The bytes of the values in that order, base64. */
  readonly raw?: string
}

export interface DescribedRecord {
  readonly arrays?: readonly (readonly [string, DescribedArray])[]
  readonly metrics?: DescribedPairs
  readonly config?: DescribedPairs
}
export type DescribedRecords = readonly (readonly [string, DescribedRecord])[]

/** One case a line. */
export function readVectors<T>(name: string): T[] {
  const lines = readFileSync(join(import.meta.dirname, name), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map((line) => JSON.parse(line) as T)
}

export function buildRecords(described: DescribedRecords): RecordDict {
  return new RecordDict(described.map(([name, record]) => [name, buildRecord(record)] as const))
}

export function buildRecord({ arrays, metrics, config }: DescribedRecord): AnyRecord {
  if (arrays) return new ArrayRecord(arrays.map(([name, array]) => [name, buildArray(array)] as const))
  if (metrics) return new MetricRecord(metrics.map(([key, value]) => [key, buildValue(value) as MetricInput] as const))
  return new ConfigRecord((config ?? []).map(([key, value]) => [key, buildValue(value)] as const))
}

export function buildValue(described: DescribedValue): ConfigInput {
  const [kind, value] = Object.entries(described)[0] as [string, Plain | readonly Plain[]]
  const one = (plain: Plain): unknown => {
    if (kind === 'int') return BigInt(plain)
    if (kind === 'float') return float(numberOf(plain))
    return kind === 'bytes' ? new Uint8Array(Buffer.from(plain as string, 'base64')) : plain
  }
  return (Array.isArray(value) ? value.map(one) : one(value as Plain)) as ConfigInput
}

export function buildArray({ dtype, shape, order, values, repeat, opaque, npy, raw }: DescribedArray): NdArray {
  if (raw !== undefined) {
    const draft = NdArray.draft(dtype as DType, shape, order === 'F')
    Buffer.from(raw, 'base64').copy(new Uint8Array(draft.values.buffer, draft.values.byteOffset))
    return draft.array
  }
  if (opaque) return new NdArray({ ...opaque, data: Buffer.from(opaque.data, 'base64') })
  if (npy !== undefined) return new NdArray({ dtype, shape, stype: 'numpy.ndarray', data: Buffer.from(npy, 'base64') })
  return NdArray.from(typedValues(dtype as DType, shape, values ?? repeat ?? []), shape, dtype as DType)
}

/** The values, in C order, of an array that is described by them. */
export function typedValues(dtype: DType, shape: readonly number[], plain: readonly (string | number)[]): NumericArray {
  const { view } = dtypes[dtype]
  const length = shape.reduce((product, size) => product * size, entriesPerNumber(dtype))
  const typed = new view(new ArrayBuffer(length * view.BYTES_PER_ELEMENT), 0, length)
  const isBig = typed instanceof BigInt64Array || typed instanceof BigUint64Array
  const items = plain.map((item) => (isBig ? BigInt(item) : numberOf(item)))
  for (let index = 0; index < length; index++) typed[index] = items[index % items.length] as never
  return typed
}

const special: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
}

export function numberOf(plain: Plain): number {
  return special[plain as string] ?? Number(plain)
}
