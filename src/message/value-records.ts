import type { ConfigRecordValue, MetricRecordValue } from '../gen/flwr/proto/recorddict_pb.ts'
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

  /**
   * Returns the value as a number. Throws a TypeError if it is absent, unless there is a default, or if it is a list.
   *
   * @example
   * result.evaluateMetricsClientapp.get(3)?.number('loss')
   */
  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    if (typeof value === 'number' || typeof value === 'bigint') return Number(value)
    throw new TypeError(
      value === undefined ? `There is no metric '${key}'${among(this.keys())}.` : `Metric '${key}' is not a number.`,
    )
  }

  /** The same as {@link MetricRecord.number}, without a default. */
  getNumber(key: string): number {
    return this.number(key)
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

  /** Returns the value as a number. Throws a TypeError if it is absent, unless there is a default, or of another kind. */
  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback
    if (typeof value === 'number' || typeof value === 'bigint') return Number(value)
    throw this.#fault(key, 'a number')
  }

  /** Returns the value if it is a text; else as {@link ConfigRecord.number}. */
  string(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback
    if (typeof value === 'string') return value
    throw this.#fault(key, 'a string')
  }

  /** Returns the value if it is a boolean; else as {@link ConfigRecord.number}. */
  boolean(key: string, fallback?: boolean): boolean {
    const value = this.get(key) ?? fallback
    if (typeof value === 'boolean') return value
    throw this.#fault(key, 'a boolean')
  }

  /** Returns the value if it is bytes; else as {@link ConfigRecord.number}. */
  bytes(key: string, fallback?: Uint8Array): Uint8Array {
    const value = this.get(key) ?? fallback
    if (value instanceof Uint8Array) return value
    throw this.#fault(key, 'bytes')
  }

  /** The same as {@link ConfigRecord.number}, without a default. So are the next ones. */
  getNumber(key: string): number {
    return this.number(key)
  }

  /** The same as {@link ConfigRecord.string}. */
  getString(key: string): string {
    return this.string(key)
  }

  /** The same as {@link ConfigRecord.boolean}. */
  getBoolean(key: string): boolean {
    return this.boolean(key)
  }

  /** The same as {@link ConfigRecord.bytes}. */
  getBytes(key: string): Uint8Array {
    return this.bytes(key)
  }

  #fault(key: string, kind: string): TypeError {
    return new TypeError(
      this.has(key) ? `Config '${key}' is not ${kind}.` : `There is no config '${key}'${among(this.keys())}.`,
    )
  }
}

/** @internal Names what there is instead; at most 20 names. */
export function among(keys: Iterable<string>): string {
  const names = [...keys]
  const shown = names.length > 20 ? [...names.slice(0, 20), `${names.length - 20} more`] : names
  return ` among: ${shown.join(', ') || 'none at all'}`
}

/** @internal */
export function entriesOf<T>(
  source: Readonly<Record<string, T>> | Iterable<readonly [string, T]>,
): Iterable<readonly [string, T]> {
  return Symbol.iterator in source ? (source as Iterable<readonly [string, T]>) : Object.entries(source)
}
