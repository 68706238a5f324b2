import { simdModule, stepBytes } from './simd-module.ts'

/**
 * Large sums lie in memory of WebAssembly, where several numbers are multiplied and added at a time. What is added is copied
 * beside them, block by block, so that it stays in the cache. A sum is an ordinary typed array: where WebAssembly is not
 * available, and for small arrays, it lies in ordinary memory and is added to by a plain loop.
 */

type Floats = Float32Array | Float64Array
type AddFunction = (sum: number, part: number, end: number, factor: number) => void

interface Additions {
  readonly scale32: AddFunction
  readonly add32: AddFunction
  readonly scale64: AddFunction
  readonly add64: AddFunction
}

/** The part of WebAssembly that is used here: the types of Node leave it to those of browsers. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown }
}
const { WebAssembly } = globalThis as unknown as { WebAssembly: WebAssemblyApi }

const pageBytes = 64 * 1024
/** Fits into the first cache beside the part of the sum. */
const blockBytes = 16 * 1024
/** Below this, a plain loop is fast enough. */
const sumBytesMin = 1024 * 1024
const sumBytesMax = 65_535 * pageBytes

const additionsOf = new WeakMap<ArrayBufferLike, Additions>()
let compiled: object | undefined

/** Room for a sum: zeros. */
export function roomForSum(bytes: number): Uint8Array {
  const memory = bytes < sumBytesMin || bytes > sumBytesMax ? undefined : openMemory(bytes)
  return memory ? new Uint8Array(memory.buffer, blockBytes, bytes) : new Uint8Array(bytes)
}

/**
 * Adds `part * factor` to the sum, or stores it there if it is the first. Returns false, and does nothing, unless the sum
 * lies in memory of WebAssembly and both are of the same type.
 */
export function addInSteps(sum: Floats, part: Floats, factor: number, isFirst: boolean): boolean {
  const additions = additionsOf.get(sum.buffer)
  const is32 = sum instanceof Float32Array
  if (!additions || is32 !== part instanceof Float32Array) return false
  const { scale32, add32, scale64, add64 } = additions
  const add = is32 ? (isFirst ? scale32 : add32) : isFirst ? scale64 : add64
  const heap = new Uint8Array(sum.buffer)
  const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
  const stepped = bytes.length - (bytes.length % stepBytes)
  for (let at = 0; at < stepped; at += blockBytes) {
    const end = Math.min(at + blockBytes, stepped)
    heap.set(bytes.subarray(at, end), 0)
    add(sum.byteOffset + at, 0, sum.byteOffset + end, factor)
  }
  for (let index = stepped / part.BYTES_PER_ELEMENT; index < part.length; index++) {
    // A double product of two float32 is exact: it is rounded when it is stored.
    const product = is32 ? Math.fround((part[index] as number) * factor) : (part[index] as number) * factor
    sum[index] = isFirst ? product : (sum[index] as number) + product
  }
  return true
}

/** Memory of its own for each large array: it is freed with the array. */
function openMemory(bytes: number): { readonly buffer: ArrayBuffer } | undefined {
  try {
    compiled ??= new WebAssembly.Module(simdModule())
    const pages = Math.ceil((blockBytes + bytes) / pageBytes)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } })
    additionsOf.set(memory.buffer, exports as Additions)
    return memory
  } catch {
    // No WebAssembly here, or no address space: a plain loop does it.
    return undefined
  }
}
