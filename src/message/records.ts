import type { NumericArray } from './dtype.ts'
import { NdArray } from './nd-array.ts'
import { among, ConfigRecord, entriesOf, MetricRecord } from './value-records.ts'

export { ConfigRecord, MetricRecord } from './value-records.ts'

/**
 * Named arrays, in order: the parameters of a model. A `Map` with a few additions.
 *
 * The order is part of a record's identity. An object literal puts names that look like integers (`'0'`) first, whatever
 * you write; give pairs where that matters.
 *
 * @example
 * const model = new ArrayRecord({ weights: NdArray.from(weights, [64, 10]), bias: NdArray.from(bias) })
 * const layers = new ArrayRecord([['10', tenth], ['2', second]])
 * model.getArray('weights').values('float32')
 */
export class ArrayRecord extends Map<string, NdArray> {
  constructor(arrays: Readonly<Record<string, NdArray>> | Iterable<readonly [string, NdArray]> = {}) {
    super()
    for (const [name, array] of entriesOf(arrays)) this.set(name, array)
  }

  /** Throws a TypeError for anything but an {@link NdArray}. */
  override set(name: string, array: NdArray): this {
    if (!(array instanceof NdArray))
      throw new TypeError(`'${name}' is no NdArray: make one with NdArray.from(values, shape).`)
    return super.set(name, array)
  }

  /**
   * Arrays without names get `"0"`, `"1"`, …, as Python's list of ndarrays.
   *
   * @example
   * ArrayRecord.fromList([new Float32Array([1, 2]), NdArray.from(weights, [64, 10])])
   */
  static fromList(arrays: readonly (NdArray | NumericArray)[]): ArrayRecord {
    return new ArrayRecord(
      arrays.map((array, index) => [String(index), array instanceof NdArray ? array : NdArray.from(array)] as const),
    )
  }

  /** The array of that name; throws a TypeError that lists the names when there is none. */
  getArray(name: string): NdArray {
    const array = this.get(name)
    if (array) return array
    throw new TypeError(`There is no array '${name}'${among(this.keys())}.`)
  }

  /** Bytes of all arrays together. */
  byteLength(): number {
    let sum = 0
    for (const array of this.values()) sum += array.data.length
    return sum
  }
}

/** A record of any of the three kinds. */
export type AnyRecord = ArrayRecord | MetricRecord | ConfigRecord

/**
 * Named records, in order: the content of a Message, and the state of a Context. A `Map` with a few additions.
 *
 * @example
 * const content = new RecordDict({ arrays: model, config: new ConfigRecord({ lr: 0.1 }) })
 * content.arrays('arrays').getArray('weights')
 * content.config('config').getNumber('lr')
 */
export class RecordDict extends Map<string, AnyRecord> {
  constructor(records: Readonly<Record<string, AnyRecord>> | Iterable<readonly [string, AnyRecord]> = {}) {
    super()
    for (const [name, record] of entriesOf(records)) this.set(name, record)
  }

  /** Throws a TypeError for anything but a record. */
  override set(name: string, record: AnyRecord): this {
    if (record instanceof ArrayRecord || record instanceof MetricRecord || record instanceof ConfigRecord)
      return super.set(name, record)
    throw new TypeError(`'${name}' is no ArrayRecord, MetricRecord or ConfigRecord.`)
  }

  /** The record of that name; throws a TypeError when it is absent or of another kind. */
  arrays(name: string): ArrayRecord {
    return this.#of(name, ArrayRecord)
  }

  metrics(name: string): MetricRecord {
    return this.#of(name, MetricRecord)
  }

  config(name: string): ConfigRecord {
    return this.#of(name, ConfigRecord)
  }

  /** All records of a kind by name, in order. */
  get arrayRecords(): Map<string, ArrayRecord> {
    return this.#all(ArrayRecord)
  }

  get metricRecords(): Map<string, MetricRecord> {
    return this.#all(MetricRecord)
  }

  get configRecords(): Map<string, ConfigRecord> {
    return this.#all(ConfigRecord)
  }

  #all<R extends AnyRecord>(kind: new (...args: never[]) => R): Map<string, R> {
    return new Map([...this].filter((entry): entry is [string, R] => entry[1] instanceof kind))
  }

  #of<R extends AnyRecord>(name: string, kind: new (...args: never[]) => R): R {
    const record = this.get(name)
    if (record instanceof kind) return record
    throw new TypeError(
      record
        ? `Record '${name}' is a ${record.constructor.name}, not a ${kind.name}.`
        : `There is no record '${name}'${among(this.keys())}.`,
    )
  }
}
