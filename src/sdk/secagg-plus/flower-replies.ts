import { NdArray } from '../../message/nd-array.ts'
import type { ConfigRecord } from '../../message/records.ts'
import { isFlowerKey } from './flower-keys.ts'

/** Reads what nodes reply in each stage of SecAgg+. All throw a TypeError or a RangeError for what does not fit. */

/** The public keys for masks and for shares. */
export function keysIn(record: ConfigRecord): readonly [Uint8Array, Uint8Array] {
  const keys = [record.getBytes('pk1'), record.getBytes('pk2')] as const
  if (keys.every(isFlowerKey)) return keys
  throw new TypeError('It sent no public keys of the curve P-384.')
}

/** The encrypted shares by the node that they are for: all of `nodes` must be there. */
export function sharesFor(nodes: readonly bigint[], record: ConfigRecord): ReadonlyMap<bigint, Uint8Array> {
  const shares = byNode(record, 'dsts', 'ctxts')
  if (nodes.every((node) => shares.has(node))) return shares
  throw new TypeError('It sent no shares for some nodes.')
}

/** The shares of the secrets of `nodes`. */
export function secretsOf(nodes: readonly bigint[], record: ConfigRecord): ReadonlyMap<bigint, Uint8Array> {
  const shares = byNode(record, 'nids', 'shares')
  if (nodes.every((node) => shares.has(node))) return shares
  throw new TypeError('It sent no shares of some nodes.')
}

/** The masked numbers: as many arrays as `lengths` has entries, of these lengths. */
export function maskedIn(record: ConfigRecord, lengths: readonly number[]): Float64Array[] {
  const parts = listIn(record, 'masked_params').map(numbersIn)
  if (parts.length === lengths.length && parts.every(({ length }, index) => length === lengths[index])) return parts
  throw new TypeError('It sent other arrays than the model has.')
}

function byNode(record: ConfigRecord, nodesKey: string, bytesKey: string): ReadonlyMap<bigint, Uint8Array> {
  const [nodes, all] = [listIn(record, nodesKey), listIn(record, bytesKey)]
  if (nodes.length !== all.length) throw new TypeError(`'${nodesKey}' and '${bytesKey}' do not fit.`)
  return new Map(
    nodes.map((node, index) => {
      const bytes = all[index]
      if (bytes instanceof Uint8Array && (typeof node === 'bigint' || Number.isSafeInteger(node)))
        return [BigInt(node as bigint | number), bytes]
      throw new TypeError(`'${nodesKey}' must hold node ids, and '${bytesKey}' bytes.`)
    }),
  )
}

function listIn(record: ConfigRecord, key: string): readonly unknown[] {
  const value = record.get(key)
  if (Array.isArray(value)) return value
  throw new TypeError(`It sent no '${key}'.`)
}

/** The whole numbers of an NPY file. */
function numbersIn(data: unknown): Float64Array {
  if (!(data instanceof Uint8Array)) throw new TypeError('It sent arrays that are no bytes.')
  const array = new NdArray({ dtype: '', shape: [], stype: 'numpy.ndarray', data })
  const numbers = Float64Array.from(array.values() as BigInt64Array, Number)
  if (numbers.every(Number.isSafeInteger)) return numbers
  throw new TypeError('It sent numbers that are not whole.')
}
