import type { ConfigRecordValue, MetricRecordValue } from '../gen/flwr/proto/recorddict_pb.ts'
import type { NumericArray } from './dtype.ts'
import { NdArray } from './nd-array.ts'
import { pythonString, pythonText } from './python-text.ts'
import {
  type ConfigInput,
  type ConfigValue,
  fromWireValue,
  type MetricInput,
  type MetricValue,
  toConfigValue,
  toMetricValue,
} from './value.ts'

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
    throw new TypeError(`There is no array '${name}' among: ${[...this.keys()].join(', ') || 'none at all'}.`)
  }

  /** Bytes of all arrays together. */
  byteLength(): number {
    let sum = 0
    for (const array of this.values()) sum += array.data.length
    return sum
  }
}

/** A record of plain values that remembers of each whether it is an integer or a float. */
abstract class ValueRecord<Input, Value, Wire extends MetricRecordValue | ConfigRecordValue> {
  readonly #values = new Map<string, Wire>()

  constructor(values: Readonly<Record<string, Input>> | Iterable<readonly [string, Input]> = {}) {
    for (const [key, value] of entriesOf(values)) this.set(key, value)
  }

  protected abstract toWire(value: Input): Wire

  set(key: string, value: Input): this {
    this.#values.set(key, this.toWire(value))
    return this
  }

  get(key: string): Value | undefined {
    const wire = this.#values.get(key)
    return wire && (fromWireValue(wire.value) as Value | undefined)
  }

  /** Whether the value is a float, or a list of floats: `float(1)` and `0.5` are, `1` is not. */
  isFloat(key: string): boolean {
    const kind = this.#values.get(key)?.value.case
    return kind === 'double' || kind === 'doubleList'
  }

  has(key: string): boolean {
    return this.#values.has(key)
  }

  delete(key: string): boolean {
    return this.#values.delete(key)
  }

  get size(): number {
    return this.#values.size
  }

  keys(): IterableIterator<string> {
    return this.#values.keys()
  }

  *entries(): Generator<[string, Value]> {
    for (const key of this.#values.keys()) yield [key, this.get(key) as Value]
  }

  [Symbol.iterator](): Generator<[string, Value]> {
    return this.entries()
  }

  /** As Python prints it: `{'num-examples': 10, 'loss': 0.5}`. Bytes are not shown. */
  toString(): string {
    const pairs = [...this].map(([key, value]) => `${pythonString(key)}: ${pythonText(value, this.isFloat(key))}`)
    return `{${pairs.join(', ')}}`
  }

  /** What `console.log` shows. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `${this.constructor.name} ${this.toString()}`
  }

  /** The values as an ordinary object. */
  toObject(): Record<string, Value> {
    return Object.fromEntries(this.entries())
  }

  /** A record of its own with the same values, each of the same kind. */
  copy(): this {
    const copied = new (this.constructor as new () => this)()
    for (const [key, wire] of this.#values) copied.setWire(key, wire)
    return copied
  }

  /** @internal The values with their kinds, for serialisation. */
  wireEntries(): IterableIterator<[string, Wire]> {
    return this.#values.entries()
  }

  /** @internal */
  setWire(key: string, wire: Wire): void {
    this.#values.set(key, wire)
  }
}

/**
 * Numbers that are measured: counts, losses, accuracies, and lists of numbers. Used like a `Map`; values that are no
 * numbers are refused with a TypeError.
 *
 * @example
 * const metrics = new MetricRecord({ 'num-examples': 600, accuracy: 0.93, loss: float(1) })
 * metrics.set('per-class', [0.9, 0.95]).getNumber('accuracy') // 0.93
 */
export class MetricRecord extends ValueRecord<MetricInput, MetricValue, MetricRecordValue> {
  protected toWire(value: MetricInput): MetricRecordValue {
    return toMetricValue(value)
  }

  /** The value as a number; throws a TypeError when it is absent or a list. */
  getNumber(key: string): number {
    const value = this.get(key)
    if (value === undefined || Array.isArray(value)) throw new TypeError(`Metric '${key}' is not a number.`)
    return Number(value)
  }
}

/**
 * Values that steer: learning rates, round numbers, flags, names, raw bytes, and lists of one of these. Used like a
 * `Map`.
 *
 * @example
 * const config = new ConfigRecord({ lr: 0.1, 'local-epochs': 2, optimizer: 'sgd' })
 * config.getNumber('lr') // 0.1
 */
export class ConfigRecord extends ValueRecord<ConfigInput, ConfigValue, ConfigRecordValue> {
  protected toWire(value: ConfigInput): ConfigRecordValue {
    return toConfigValue(value)
  }

  /** The value as a number; throws a TypeError when it is absent or something else. So do the others. */
  getNumber(key: string): number {
    const value = this.get(key)
    if (typeof value !== 'number' && typeof value !== 'bigint') throw new TypeError(`Config '${key}' is not a number.`)
    return Number(value)
  }

  getString(key: string): string {
    const value = this.get(key)
    if (typeof value !== 'string') throw new TypeError(`Config '${key}' is not a string.`)
    return value
  }

  getBoolean(key: string): boolean {
    const value = this.get(key)
    if (typeof value !== 'boolean') throw new TypeError(`Config '${key}' is not a boolean.`)
    return value
  }

  getBytes(key: string): Uint8Array {
    const value = this.get(key)
    if (!(value instanceof Uint8Array)) throw new TypeError(`Config '${key}' is not bytes.`)
    return value
  }
}

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
        : `There is no record '${name}' among: ${[...this.keys()].join(', ') || 'none at all'}.`,
    )
  }
}

function entriesOf<T>(
  source: Readonly<Record<string, T>> | Iterable<readonly [string, T]>,
): Iterable<readonly [string, T]> {
  return Symbol.iterator in source ? (source as Iterable<readonly [string, T]>) : Object.entries(source)
}
