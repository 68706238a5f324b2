import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { UsageError } from '../base/errors.ts'

/** OpenSSH's containers of keys, which Node does not read: what `ssh-keygen` writes. */

const curves: Readonly<Record<string, { jwk: string; size: number }>> = {
  nistp256: { jwk: 'P-256', size: 32 },
  nistp384: { jwk: 'P-384', size: 48 },
  nistp521: { jwk: 'P-521', size: 66 },
}

/** Reads a private key. `what` names the file; throws a UsageError (Flower code 302) with the remedy. */
export function readOpensshPrivateKey(text: string, what: string): KeyObject {
  const refuse = (why: string): UsageError =>
    new UsageError(`${what} ${why}: make one with ssh-keygen -t ecdsa -b 384 -N "" -f FILE.`, { flowerCode: 302 })
  const base64 = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]+?)-----END OPENSSH PRIVATE KEY-----/.exec(text)?.[1]
  if (!base64) throw refuse('is not an OpenSSH private key')
  try {
    const reader = new Reader(Buffer.from(base64, 'base64'))
    if (reader.take(15).toString('latin1') !== 'openssh-key-v1\0') throw refuse('is not an OpenSSH private key')
    if (reader.text() !== 'none') throw refuse('is protected by a passphrase, which is not supported')
    reader.string()
    reader.string()
    if (reader.uint32() !== 1) throw refuse('holds more than one key')
    reader.string()
    const secret = new Reader(reader.string())
    const check = secret.uint32()
    if (secret.uint32() !== check) throw refuse('is damaged')
    if (!secret.text().startsWith('ecdsa-sha2-')) throw refuse('is not an elliptic-curve key')
    const curve = secret.text()
    const point = secret.string()
    const scalar = secret.string()
    return toKey(curve, point, scalar)
  } catch (error) {
    throw error instanceof UsageError ? error : refuse('is damaged or of an unknown curve')
  }
}

/** Reads a line `ecdsa-sha2-nistp384 AAAA… comment` and gives the PEM bytes that nodes are known by. */
export function readOpensshPublicKey(text: string, what: string): string {
  const refuse = (): UsageError =>
    new UsageError(`${what} is not an OpenSSH public key of a NIST curve: make one with ssh-keygen -t ecdsa -b 384.`, {
      flowerCode: 500,
    })
  const [type = '', base64 = ''] = text.trim().split(/\s+/)
  if (!type.startsWith('ecdsa-sha2-nistp')) throw refuse()
  try {
    const reader = new Reader(Buffer.from(base64, 'base64'))
    if (reader.text() !== type) throw refuse()
    const curve = reader.text()
    return toPublicPem(curve, reader.string())
  } catch {
    throw refuse()
  }
}

/** Reads a line `ssh-ed25519 AAAA… comment`; `undefined` for anything else. */
export function readOpensshEd25519PublicKey(text: string): KeyObject | undefined {
  const [type, base64 = ''] = text.trim().split(/\s+/)
  if (type !== 'ssh-ed25519') return undefined
  try {
    const reader = new Reader(Buffer.from(base64, 'base64'))
    if (reader.text() !== type) return undefined
    const x = reader.string().toString('base64url')
    return createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
  } catch {
    return undefined
  }
}

function toKey(curve: string, point: Buffer, scalar: Buffer): KeyObject {
  const { jwk, size } = curveOf(curve)
  const { x, y } = coordinates(point, size)
  // An mpint may carry a leading zero or be shorter than the field.
  const digits = scalar.subarray(Math.max(0, scalar.length - size))
  const d = Buffer.concat([Buffer.alloc(size - digits.length), digits]).toString('base64url')
  return createPrivateKey({ format: 'jwk', key: { kty: 'EC', crv: jwk, x, y, d } })
}

function toPublicPem(curve: string, point: Buffer): string {
  const { jwk, size } = curveOf(curve)
  const key = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: jwk, ...coordinates(point, size) } })
  return key.export({ type: 'spki', format: 'pem' }).toString()
}

function curveOf(name: string): { jwk: string; size: number } {
  const curve = curves[name]
  if (!curve) throw new Error('unknown curve')
  return curve
}

function coordinates(point: Buffer, size: number): { x: string; y: string } {
  if (point.length !== 1 + 2 * size || point[0] !== 4) throw new Error('not an uncompressed point')
  return { x: point.subarray(1, 1 + size).toString('base64url'), y: point.subarray(1 + size).toString('base64url') }
}

class Reader {
  #rest: Buffer
  constructor(bytes: Buffer) {
    this.#rest = bytes
  }
  take(length: number): Buffer {
    if (length > this.#rest.length) throw new Error('cut short')
    const taken = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return taken
  }
  uint32(): number {
    return this.take(4).readUInt32BE()
  }
  string(): Buffer {
    return this.take(this.uint32())
  }
  text(): string {
    return this.string().toString('latin1')
  }
}
