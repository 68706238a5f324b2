import type { ConfigRecordValue, MetricRecordValue } from '../gen/flwr/proto/recorddict_pb.ts'
import { NdArray, type NumericArray } from './nd-array.ts'
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
 * Named arrays, in order: the parameters of a model.
 *
 * @example
 * const model = new ArrayRecord({ weights: NdArray.from(weights, [64, 10]), bias: NdArray.from(bias) })
 */
export class ArrayRecord extends Map<string, NdArray> {
  constructor(arrays: Readonly<Record<string, NdArray>> | Iterable<readonly [string, NdArray]> = {}) {
    super()
    for (const [name, array] of entriesOf(arrays)) this.set(name, array)
  }

  /** Arrays without names get `"0"`, `"1"`, …, as Python's list of ndarrays. */
  static fromList(arrays: readonly (NdArray | NumericArray)[]): ArrayRecord {
    return new ArrayRecord(
      arrays.map((array, index) => [String(index), array instanceof NdArray ? array : NdArray.from(array)] as const),
    )
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
 * Numbers that are measured: counts, losses, accuracies.
 *
 * @example
 * new MetricRecord({ 'num-examples': 600, accuracy: 0.93, loss: float(1) })
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
 * Values that steer: learning rates, round numbers, flags, names, raw bytes.
 *
 * @example
 * new ConfigRecord({ lr: 0.1, 'local-epochs': 2, optimizer: 'sgd' })
 */
export class ConfigRecord extends ValueRecord<ConfigInput, ConfigValue, ConfigRecordValue> {
  protected toWire(value: ConfigInput): ConfigRecordValue {
    return toConfigValue(value)
  }

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
}

export type AnyRecord = ArrayRecord | MetricRecord | ConfigRecord

/** Named records, in order: the content of a Message, and the state of a Context. */
export class RecordDict extends Map<string, AnyRecord> {
  constructor(records: Readonly<Record<string, AnyRecord>> | Iterable<readonly [string, AnyRecord]> = {}) {
    super()
    for (const [name, record] of entriesOf(records)) this.set(name, record)
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

  #of<R extends AnyRecord>(name: string, kind: new (...args: never[]) => R): R {
    const record = this.get(name)
    if (record instanceof kind) return record
    throw new TypeError(record ? `Record '${name}' is not ${kind.name}.` : `There is no record '${name}'.`)
  }
}

function entriesOf<T>(
  source: Readonly<Record<string, T>> | Iterable<readonly [string, T]>,
): Iterable<readonly [string, T]> {
  return Symbol.iterator in source ? (source as Iterable<readonly [string, T]>) : Object.entries(source)
}
