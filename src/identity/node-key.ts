import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { isoTimestamp } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/**
 * Key authentication of SuperNodes, as both wire generations have it: an ECDSA signature with SHA-256 over the text of a
 * timestamp, in headers of every Fleet call. The key itself, as PEM bytes, is the name of the node.
 */
export interface NodeKey {
  readonly privateKey: KeyObject
  /** PEM SubjectPublicKeyInfo with a final newline; compared byte for byte. */
  readonly publicKeyPem: Uint8Array
}

/** A fresh P-384 pair, for SuperNodes without a key file. */
export function generateNodeKey(): NodeKey {
  return toNodeKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)
}

export function toNodeKey(privateKey: KeyObject): NodeKey {
  const pem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' })
  return { privateKey, publicKeyPem: Buffer.from(pem) }
}

/** The headers of one call; sign anew for each attempt, because the server accepts them for five minutes only. */
export async function signNodeCall(
  key: NodeKey,
  nowMs: number,
): Promise<{ headers: Record<string, string>; binaryHeaders: Record<string, Uint8Array> }> {
  const timestamp = isoTimestamp(nowMs)
  const signature = await new Promise<Buffer>((resolve, reject) =>
    sign('sha256', Buffer.from(timestamp), key.privateKey, (error, bytes) => (error ? reject(error) : resolve(bytes))),
  )
  return {
    headers: { 'flwr-timestamp': timestamp },
    binaryHeaders: { 'flwr-public-key': key.publicKeyPem, 'flwr-signature': signature },
  }
}

/** The timestamp may be this much older, or newer, than our clock; both ends exclusive. */
const ageMs = { min: -5_000, max: 305_000 } as const

/** Throws a DomainError when the signature or its age is not right. The check itself runs off the main thread. */
export async function verifyNodeCall(
  call: { readonly publicKeyPem: Uint8Array; readonly timestamp: string; readonly signature: Uint8Array },
  nowMs: number,
): Promise<void> {
  const key = parsePublicKey(Buffer.from(call.publicKeyPem).toString('latin1'))
  const good = await new Promise<boolean>((resolve) =>
    verify('sha256', Buffer.from(call.timestamp), key, call.signature, (error, result) => resolve(!error && result)),
  )
  if (!good) throw new DomainError('node-signature-invalid')
  const signedAt = parseTimestamp(call.timestamp)
  const age = signedAt === undefined ? Number.NaN : nowMs - signedAt
  if (!(age > ageMs.min && age < ageMs.max)) throw new DomainError('node-timestamp-invalid')
}

/** Python's `isoformat()` with an offset: 0, 3 or 6 digits of fraction, `+00:00` or `Z` or another offset. */
function parseTimestamp(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

const parsedKeys = new Map<string, KeyObject>()
const parsedKeysMax = 10_000

/** Parsing costs as much as checking, so keys that were seen are kept. */
function parsePublicKey(pem: string): KeyObject {
  const known = parsedKeys.get(pem)
  if (known) return known
  let key: KeyObject
  try {
    if (pem.length > 2000) throw new Error('too long')
    key = createPublicKey(pem)
  } catch (cause) {
    throw new DomainError('node-signature-invalid', undefined, { cause })
  }
  if (key.asymmetricKeyType !== 'ec') throw new DomainError('node-signature-invalid', 'not an elliptic-curve key')
  if (parsedKeys.size >= parsedKeysMax) parsedKeys.delete(parsedKeys.keys().next().value as string)
  parsedKeys.set(pem, key)
  return key
}

/** Whether a PEM is a public key of a NIST curve: no other key can be registered. */
export function isNistPublicKey(pem: Uint8Array): boolean {
  const curve = readPublicKey(pem)?.asymmetricKeyDetails?.namedCurve ?? ''
  return ['prime192v1', 'secp224r1', 'prime256v1', 'secp384r1', 'secp521r1'].includes(curve)
}

/** Whether the bytes are one public key as PEM, of any kind, with nothing around it. */
export function isPublicKeyPem(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  if (recentPems.has(text)) return true
  if (readPublicKey(bytes) === undefined) return false
  if (recentPems.size >= recentPemsMax) recentPems.delete(recentPems.keys().next().value as string)
  recentPems.add(text)
  return true
}

/** A SuperNode that joins sends its key twice. */
const recentPems = new Set<string>()
const recentPemsMax = 256

function readPublicKey(bytes: Uint8Array): KeyObject | undefined {
  if (bytes.length > limits.publicKeyBytesMax) return undefined
  const text = Buffer.from(bytes).toString('latin1')
  if (!/^-----BEGIN PUBLIC KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END PUBLIC KEY-----\s*$/.test(text)) return undefined
  try {
    return createPublicKey(text)
  } catch {
    return undefined
  }
}
