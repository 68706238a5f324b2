import { limits } from '../../base/limits.ts'
import { fromBfloat16, toBfloat16 } from '../../message/convert.ts'
import { type DType, dtypes, type NumericArray } from '../../message/dtype.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'

/** The arrays of a safetensors file, and the texts that travel with them. */
export interface Safetensors {
  readonly arrays: ArrayRecord
  readonly metadata: Readonly<Record<string, string>>
}

/** The types of the format that have one of numpy. BF16 is read as float32. */
const types: Readonly<Record<string, DType>> = {
  ...{ BOOL: 'bool', U8: 'uint8', I8: 'int8', U16: 'uint16', I16: 'int16', U32: 'uint32', I32: 'int32' },
  ...{ U64: 'uint64', I64: 'int64', F16: 'float16', F32: 'float32', F64: 'float64', C64: 'complex64' },
}
const metadataKey = '__metadata__'

/**
 * Returns the bytes of a safetensors file with these arrays, those of the widest numbers first. `floats` converts arrays of floats, also to `bfloat16`. Throws a
 * TypeError for arrays without a type in the format (complex128, other frameworks).
 *
 * @example
 * await writeFile('model.safetensors', encodeSafetensors(result.arrays, { floats: 'bfloat16', metadata: { round: '10' } }))
 */
export function encodeSafetensors(
  arrays: ArrayRecord,
  options: {
    readonly floats?: 'bfloat16' | 'float16' | 'float32' | 'float64'
    readonly metadata?: Readonly<Record<string, string>>
  } = {},
): Uint8Array {
  const { floats, metadata = {} } = options
  if (arrays.has(metadataKey)) throw new TypeError(`An array cannot have the name ${metadataKey} in this format.`)
  const tensors = [...arrays].map(([name, array]) => ({
    name,
    shape: array.layout().shape,
    ...typed(name, array, floats),
  }))
  // The largest numbers come first, so that each array lies at a multiple of their size.
  const placed = tensors.toSorted((a, b) => b.values.BYTES_PER_ELEMENT - a.values.BYTES_PER_ELEMENT)
  const spans = new Map<string, readonly [from: number, to: number]>()
  let end = 0
  for (const { name, values } of placed) {
    spans.set(name, [end, end + values.byteLength])
    end += values.byteLength
  }
  const entries = tensors.map(({ name, type, shape }) => [name, { dtype: type, shape, data_offsets: spans.get(name) }])
  const head = Object.keys(metadata).length > 0 ? [[metadataKey, metadata]] : []
  const text = Buffer.from(orderedJson([...head, ...entries] as [string, unknown][]))
  const headerBytes = Math.ceil(text.length / 8) * 8
  if (headerBytes > limits.safetensorsHeaderBytesMax) throw new RangeError('Too many arrays for a safetensors file.')
  const bytes = Buffer.alloc(8 + headerBytes + end)
  bytes.writeBigUInt64LE(BigInt(headerBytes))
  bytes.fill(' ', 8, 8 + headerBytes)
  text.copy(bytes, 8)
  for (const { name, values } of placed) bytes.set(bytesOf(values), 8 + headerBytes + (spans.get(name)?.[0] ?? 0))
  return bytes
}

/** An object in JSON with its keys in this order, also those that look like integers. */
function orderedJson(entries: readonly [string, unknown][]): string {
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`
}

function typed(name: string, array: NdArray, floats: string | undefined): { type: string; values: NumericArray } {
  const { dtype } = array.layout()
  if (floats === 'bfloat16' && dtype.startsWith('float'))
    return { type: 'BF16', values: toBfloat16(array.astype('float32').values('float32')) }
  const wanted = floats && dtype.startsWith('float') ? (floats as DType) : dtype
  const type = Object.keys(types).find((key) => types[key] === wanted)
  if (type === undefined)
    throw new TypeError(`The array '${name}' is of ${dtype}, which a safetensors file cannot hold.`)
  return { type, values: array.astype(wanted).values() }
}

function bytesOf({ buffer, byteOffset, byteLength }: NumericArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/**
 * Reads a safetensors file, untrusted ones too. Arrays come in the order of their values in the file; BF16 becomes float32. Throws a
 * TypeError if the file is damaged: its list must be JSON of at most 32 MiB, and the arrays must fill the rest without gaps or
 * overlaps.
 *
 * @example
 * const { arrays, metadata } = decodeSafetensors(await readFile('model.safetensors'))
 */
export function decodeSafetensors(bytes: Uint8Array): Safetensors {
  const { entries, data } = readHeader(bytes)
  let metadata: Record<string, string> = {}
  const tensors: Tensor[] = []
  for (const [name, value] of entries) {
    if (name === metadataKey) metadata = readMetadata(value)
    else tensors.push(readTensor(name, value, data.length))
  }
  let end = 0
  // JSON loses the order of names that look like integers; the order of the values in the file is kept.
  tensors.sort((left, right) => left.from - right.from || left.to - right.to)
  for (const { name, from, to } of tensors) {
    if (from !== end) throw damaged(`'${name}' does not begin where the array before it ends`)
    end = to
  }
  if (end !== data.length) throw damaged(`the arrays end at byte ${end} of ${data.length}`)
  const arrays = new ArrayRecord(tensors.map((tensor) => [tensor.name, toArray(tensor, data)] as const))
  return { arrays, metadata }
}

interface Tensor {
  readonly name: string
  readonly type: string
  readonly shape: readonly number[]
  readonly from: number
  readonly to: number
}

function damaged(what: string): TypeError {
  return new TypeError(`Not a valid safetensors file: ${what}.`)
}

function readHeader(bytes: Uint8Array): { entries: [string, unknown][]; data: Uint8Array } {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (file.length < 8) throw damaged('it has fewer than 8 bytes')
  const length = file.readBigUInt64LE()
  if (length > BigInt(limits.safetensorsHeaderBytesMax)) throw damaged(`its list would take ${length} bytes`)
  if (length > BigInt(file.length - 8)) throw damaged('its list is cut short')
  const start = 8 + Number(length)
  // White space before the list is not allowed.
  if (file[8] !== 0x7b) throw damaged('its list is no JSON object')
  let list: unknown
  try {
    list = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(8, start)))
  } catch (cause) {
    throw new TypeError('Not a valid safetensors file: its list is no JSON.', { cause })
  }
  const entries = Object.entries(list as Record<string, unknown>)
  if (entries.length > limits.arrayFileArraysMax) throw damaged(`it lists ${entries.length} arrays`)
  return { entries, data: bytes.subarray(start) }
}

function readMetadata(value: unknown): Record<string, string> {
  const entries = isObject(value) ? Object.entries(value) : undefined
  if (!entries?.every(([, text]) => typeof text === 'string')) throw damaged(`${metadataKey} holds more than texts`)
  return Object.fromEntries(entries) as Record<string, string>
}

function readTensor(name: string, value: unknown, bytes: number): Tensor {
  const { dtype, shape, data_offsets: span } = isObject(value) ? value : {}
  const type = String(dtype)
  if (type !== 'BF16' && !Object.hasOwn(types, type))
    throw new TypeError(`'${name}' in the safetensors file is of type ${type.slice(0, 20)}, which is not supported.`)
  if (!isSizes(shape) || shape.length > axesMax) throw damaged(`'${name}' has no shape`)
  if (!isSizes(span) || span.length !== 2) throw damaged(`'${name}' has no place`)
  const [from, to] = span as [number, number]
  if (from > to || to > bytes) throw damaged(`'${name}' lies outside of the file`)
  const size = type === 'BF16' ? 2 : dtypes[types[type] as DType].view.BYTES_PER_ELEMENT * (type === 'C64' ? 2 : 1)
  const needed = shape.reduce((product, axis) => product * axis, size)
  if (needed !== to - from) throw damaged(`'${name}' needs ${needed} bytes and has ${to - from}`)
  return { name, type, shape, from, to }
}

/** As many as numpy has. */
const axesMax = 64

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0)
}

function toArray({ type, shape, from, to }: Tensor, data: Uint8Array): NdArray {
  // A copy: `slice` of a Buffer is none, and may begin at an odd place.
  const aligned = new Uint8Array(data.subarray(from, to))
  if (type === 'BF16')
    return NdArray.from(fromBfloat16(new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.length / 2)), shape)
  const dtype = types[type] as DType
  return NdArray.build(dtype, shape, (values) => bytesOf(values).set(aligned))
}
