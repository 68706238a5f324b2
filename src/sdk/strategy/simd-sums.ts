import { simdModule, stepBytes } from './simd-module.ts'

/**
 * Adds products of floats in WebAssembly, several numbers at a time. The numbers lie in ordinary memory: they are copied block by
 * block to a little memory of WebAssembly that stays in the cache, and each block of the sum is read and written once for all
 * parts. Where WebAssembly is not available, a plain loop does it.
 */

export type Floats = Float32Array | Float64Array

export interface FloatPart {
  readonly values: Floats
  /** Rounded to the type of the numbers. */
  readonly factor: number
}

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
/** A block of the sum and one of a part fit into the second cache of a processor. */
const blockBytes = 128 * 1024
const [sumAt, partAt] = [0, blockBytes]
/** Below this, a plain loop is fast enough. */
const sumBytesMin = 16 * 1024

interface Scratch {
  readonly additions: Additions
  readonly bytes: Uint8Array
}
let scratch: Scratch | 'none' | undefined

/**
 * Adds `values * factor` of each part to the sum, in their order; the first is stored if `isFirst`. Returns false, and does
 * nothing, if the sum is short, if there is no WebAssembly, or if a part is of another type.
 */
export function addInSteps(sum: Floats, parts: readonly FloatPart[], isFirst: boolean): boolean {
  const is32 = sum instanceof Float32Array
  const areAlike = parts.every(({ values }) => values instanceof Float32Array === is32)
  if (sum.byteLength < sumBytesMin || !areAlike) return false
  scratch ??= openScratch()
  if (scratch === 'none') return false
  const { additions, bytes: block } = scratch
  const [scale, add] = is32 ? [additions.scale32, additions.add32] : [additions.scale64, additions.add64]
  const sumBytes = bytesOf(sum)
  const products = parts.map(({ values, factor }) => ({ bytes: bytesOf(values), factor }))
  for (let at = 0; at < sumBytes.length; at += blockBytes) {
    const sumBlock = sumBytes.subarray(at, at + blockBytes)
    // What lies behind a last block that is not full is computed too, and left there.
    const end = sumAt + Math.ceil(sumBlock.length / stepBytes) * stepBytes
    if (!isFirst) block.set(sumBlock, sumAt)
    for (const [index, { bytes, factor }] of products.entries()) {
      block.set(bytes.subarray(at, at + sumBlock.length), partAt)
      const store = isFirst && index === 0 ? scale : add
      store(sumAt, partAt, end, factor)
    }
    sumBlock.set(block.subarray(sumAt, sumAt + sumBlock.length))
  }
  return true
}

function bytesOf({ buffer, byteOffset, byteLength }: Floats): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function openScratch(): Scratch | 'none' {
  try {
    const pages = (2 * blockBytes) / pageBytes
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(simdModule()), { env: { memory } })
    return { additions: exports as Additions, bytes: new Uint8Array(memory.buffer) }
  } catch {
    return 'none'
  }
}
