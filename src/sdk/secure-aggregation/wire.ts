import { ConfigRecord } from '../../message/records.ts'
import type { ConfigInput } from '../../message/value.ts'

/** The records of the protocol, as `docs/reference/secure-aggregation.md` describes them. */

/** The name of the ConfigRecord of each message and reply. */
export const recordKey = 'secure-aggregation'
/** The ArrayRecord in which a node sends its masked numbers. */
export const maskedKey = 'masked'
/** The type of all messages: ClientApps of both languages call mods only for types that they have a function for. */
export const exchangeType = 'train'

export const stages = ['keys', 'shares', 'masked', 'unmask'] as const
export type Stage = (typeof stages)[number]

export const sessionBytes = 16

/** A node id as the protocol writes it: 8 bytes, the most significant first. */
export function idBytes(nodeId: bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(nodeId)
  return Uint8Array.from(bytes)
}

/** The smaller id first. */
export function inOrder(a: Uint8Array, b: Uint8Array): [Uint8Array, Uint8Array] {
  return Buffer.compare(a, b) < 0 ? [a, b] : [b, a]
}

/** Whether both hold the same bytes. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Bytes as text, e.g. to compare them in a set. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** A record of the other side lacks something, or holds something else. */
export class WireError extends Error {}

/** Reads a list of bytes. Throws a {@link WireError} unless each entry has that length, or any length without one. */
export function bytesList(record: ConfigRecord, key: string, length?: number): Uint8Array[] {
  const value = record.get(key)
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  if (value === undefined || !Array.isArray(value) || !list.every((entry) => entry instanceof Uint8Array))
    throw new WireError(`'${key}' is not a list of bytes.`)
  if (length !== undefined && !list.every((entry) => (entry as Uint8Array).length === length))
    throw new WireError(`'${key}' must hold entries of ${length} bytes.`)
  return list as Uint8Array[]
}

/** Reads bytes of that length. Throws a {@link WireError}. */
export function bytesOf(record: ConfigRecord, key: string, length: number): Uint8Array {
  const value = record.get(key)
  if (value instanceof Uint8Array && value.length === length) return value
  throw new WireError(`'${key}' is not of ${length} bytes.`)
}

/** Reads a number. Throws a {@link WireError}. */
export function numberOf(record: ConfigRecord, key: string): number {
  const value = record.get(key)
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value)
  throw new WireError(`'${key}' is not a number.`)
}

/** Reads text. Throws a {@link WireError}. */
export function textOf(record: ConfigRecord, key: string): string {
  const value = record.get(key)
  if (typeof value === 'string') return value
  throw new WireError(`'${key}' is not text.`)
}

/** What each message and reply of a round begins with. */
export function stageRecord(
  stage: Stage,
  session: Uint8Array,
  fields: Readonly<Record<string, ConfigInput>> = {},
): ConfigRecord {
  return new ConfigRecord({ stage, session, ...fields })
}
