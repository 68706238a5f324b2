import { create } from '@bufbuild/protobuf'
import {
  type ConfigRecordValue,
  ConfigRecordValueSchema,
  type MetricRecordValue,
  MetricRecordValueSchema,
} from '../gen/flwr/proto/recorddict_pb.ts'

/**
 * Python tells 1 from 1.0, JavaScript does not. A number without a fraction is written as an integer; wrap it in
 * {@link float} where a float is meant. What was read keeps its kind, so writing it again gives the same bytes.
 */
export class Float {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

/** Marks a number as a float, e.g. `float(1)` for Python's `1.0`. */
export function float(value: number): Float {
  return new Float(value)
}

/** What a {@link MetricRecord} takes. */
export type MetricInput = number | bigint | Float | readonly (number | bigint | Float)[]
/** What a {@link ConfigRecord} takes. */
export type ConfigInput =
  | MetricInput
  | boolean
  | string
  | Uint8Array
  | readonly boolean[]
  | readonly string[]
  | readonly Uint8Array[]

/** Integers beyond 2^53 come back as bigint. */
export type MetricValue = number | bigint | (number | bigint)[]
/** What a {@link ConfigRecord} returns. */
export type ConfigValue = MetricValue | boolean | string | Uint8Array | boolean[] | string[] | Uint8Array[]

type WireNumber =
  | { case: 'double'; value: number }
  | { case: 'sint64' | 'uint64'; value: bigint }
  | { case: 'doubleList'; value: { vals: number[] } }
  | { case: 'sintList' | 'uintList'; value: { vals: bigint[] } }
type WireValue = ConfigRecordValue['value']

const int64Max = 2n ** 63n - 1n
const int64Min = -(2n ** 63n)
const uint64Max = 2n ** 64n - 1n

export function toMetricValue(input: MetricInput): MetricRecordValue {
  return create(MetricRecordValueSchema, { value: Array.isArray(input) ? numberList(input) : number(input as number) })
}

export function toConfigValue(input: ConfigInput): ConfigRecordValue {
  return create(ConfigRecordValueSchema, { value: configValue(input) as NonNullable<unknown> as never })
}

function configValue(input: ConfigInput): unknown {
  if (typeof input === 'boolean') return { case: 'bool', value: input }
  if (typeof input === 'string') return { case: 'string', value: input }
  if (input instanceof Uint8Array) return { case: 'bytes', value: input }
  if (!Array.isArray(input)) return number(input as number)
  const list = input as readonly unknown[]
  // Python takes an empty list for one of booleans; every reader takes it as untyped.
  if (list.every((item) => typeof item === 'boolean')) return { case: 'boolList', value: { vals: [...list] } }
  if (list.every((item) => typeof item === 'string')) return { case: 'stringList', value: { vals: [...list] } }
  if (list.every((item) => item instanceof Uint8Array)) return { case: 'bytesList', value: { vals: [...list] } }
  return numberList(list as readonly number[])
}

function number(input: number | bigint | Float): WireNumber {
  if (input instanceof Float) return { case: 'double', value: input.value }
  if (typeof input === 'number') {
    if (!Number.isInteger(input) || Object.is(input, -0)) return { case: 'double', value: input }
    if (!Number.isSafeInteger(input)) return { case: 'double', value: input }
    return { case: 'sint64', value: BigInt(input) }
  }
  if (typeof input !== 'bigint')
    throw new TypeError(`A value of type ${kindOf(input)} cannot be stored in this record.`)
  if (input < int64Min || input > uint64Max) throw new RangeError(`${input} does not fit into 64 bits.`)
  return { case: input > int64Max ? 'uint64' : 'sint64', value: input }
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'list' : value === null ? 'null' : typeof value
}

/** Whole numbers beside others are floats too: in JavaScript `[1, 0.5]` is meant as a list of one kind. */
function numberList(input: readonly (number | bigint | Float)[]): WireNumber {
  if (!input.every((item) => typeof item === 'number' || typeof item === 'bigint' || item instanceof Float))
    throw new TypeError('A list in a record must hold values of one kind.')
  const items = input.map(number)
  if (items.some((item) => item.case === 'double') || items.length === 0) {
    return { case: 'doubleList', value: { vals: items.map((item) => Number(item.value)) } }
  }
  const vals = items.map((item) => item.value as bigint)
  if (vals.some((value) => value > int64Max) && vals.some((value) => value < 0n))
    throw new RangeError('A list of integers cannot hold negative ones beside ones above 2^63.')
  return { case: vals.some((value) => value > int64Max) ? 'uintList' : 'sintList', value: { vals } }
}

/** `undefined` when the wire carried no value. */
export function fromWireValue(wire: WireValue | MetricRecordValue['value']): ConfigValue | undefined {
  switch (wire.case) {
    case undefined:
      return undefined
    case 'sint64':
    case 'uint64':
      return toNumber(wire.value)
    case 'sintList':
    case 'uintList':
      return wire.value.vals.map(toNumber)
    case 'doubleList':
    case 'boolList':
    case 'stringList':
      return [...wire.value.vals] as ConfigValue
    case 'bytesList':
      return wire.value.vals.map(plainBytes)
    case 'bytes':
      return plainBytes(wire.value)
    default:
      return wire.value
  }
}

/** A Buffer is a Uint8Array whose methods differ in surprising ways. */
function plainBytes({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function toNumber(value: bigint): number | bigint {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value
}
