import { hash } from 'node:crypto'
import { DomainError } from '../base/errors.ts'

/**
 * Flower's inflatable objects: `TYPE SP CHILDREN SP BODYLEN NUL body`, identified by the SHA-256 of all their bytes.
 * Children are the ids of the objects that this one is made of, each once, in the order of first use.
 */
export const objectTypes = [
  'ArrayChunk',
  'Array',
  'ArrayRecord',
  'MetricRecord',
  'ConfigRecord',
  'RecordDict',
  'Message',
] as const
export type ObjectType = (typeof objectTypes)[number]

export interface ParsedObject {
  readonly type: ObjectType
  readonly children: readonly string[]
  /** A view of the given bytes, not a copy. */
  readonly body: Uint8Array
}

/** Lowercase hexadecimal SHA-256 of an object's bytes. */
export function objectId(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

export function isObjectId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text)
}

/** The bytes in front of the body. */
export function objectHead(type: ObjectType, children: readonly string[], bodyLength: number): Uint8Array {
  return Buffer.from(`${type} ${children.join(',')} ${bodyLength}\0`)
}

export function encodeObject(type: ObjectType, children: readonly string[], body: Uint8Array): Uint8Array {
  return Buffer.concat([objectHead(type, children, body.length), body])
}

/** Throws `object-malformed` with what is wrong. */
export function parseObject(bytes: Uint8Array): ParsedObject {
  const head = parseHead(bytes, bytes.length)
  if (!head) throw malformed('no head')
  const { type, children } = head
  return { type, children, body: bytes.subarray(head.length) }
}

/**
 * Reads the head in the first bytes of an object; returns `undefined` if it does not end within them. Throws
 * `object-malformed` with what is wrong.
 *
 * @param length of the whole object.
 */
export function parseHead(
  bytes: Uint8Array,
  length: number,
): (Omit<ParsedObject, 'body'> & { readonly length: number }) | undefined {
  const end = bytes.indexOf(0)
  if (end < 0) return undefined
  const parts = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString().split(' ')
  if (parts.length !== 3) throw malformed('the head has not three parts')
  const [type, childList, bodyLength] = parts as [string, string, string]
  if (!(objectTypes as readonly string[]).includes(type)) throw malformed(`unknown type '${type.slice(0, 40)}'`)
  const children = childList === '' ? [] : childList.split(',')
  if (!children.every(isObjectId)) throw malformed('a child is not an object id')
  if (bodyLength !== String(length - end - 1)) throw malformed('the body has another length than the head says')
  return { type: type as ObjectType, children, length: end + 1 }
}

function malformed(what: string): DomainError {
  return new DomainError('object-malformed', `Malformed object: ${what}.`)
}
