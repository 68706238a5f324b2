import { type KeyObject, verify } from 'node:crypto'
import { parse } from 'yaml'
import { UsageError } from '../base/errors.ts'
import { readOpensshEd25519PublicKey } from './openssh-key.ts'
import { type FileFlag, readTextFile } from './tls-files.ts'

/** Whose signatures make an app one that this node runs: public keys (Ed25519) by their id. */
export type TrustedEntities = ReadonlyMap<string, KeyObject>

/**
 * Reads `--trusted-entities`: a YAML map of key ids to OpenSSH public keys. Throws a UsageError (Flower code 304) that names
 * the file and the id.
 */
export function readTrustedEntities(file: FileFlag): TrustedEntities {
  const refuse = (why: string, cause?: unknown): UsageError =>
    new UsageError(`${file.flag}: ${file.path} ${why}: give a YAML map of key ids to 'ssh-ed25519 …' public keys.`, {
      flowerCode: 304,
      cause,
    })
  let document: unknown
  try {
    document = parse(readTextFile(file), { maxAliasCount: 0 })
  } catch (cause) {
    throw cause instanceof UsageError ? refuse('cannot be read', cause) : refuse('is not YAML', cause)
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) throw refuse('is not a map')
  const entries = Object.entries(document)
  if (entries.length === 0) throw refuse('names no entity')
  return new Map(
    entries.map(([id, value]) => {
      const key = typeof value === 'string' ? readOpensshEd25519PublicKey(value) : undefined
      if (!key) throw refuse(`has no Ed25519 public key for '${id}'`)
      return [id, key]
    }),
  )
}

/**
 * Whether a trusted entity has signed the app. A signature is over 8 bytes of `signed_at` (seconds, big endian) and the
 * SHA-256 digest of the bundle.
 *
 * @param verifications what came with the app: JSON with `signed_at` and `signature` (base64url) by key id.
 */
export function isSignedBy(
  entities: TrustedEntities,
  digest: Uint8Array,
  verifications: Readonly<Record<string, string>>,
): boolean {
  return [...entities].some(([id, key]) => {
    const signed = readSignature(verifications[id])
    return signed !== undefined && verify(null, Buffer.concat([signed.at, digest]), key, signed.signature)
  })
}

function readSignature(text: string | undefined): { at: Buffer; signature: Buffer } | undefined {
  if (text === undefined) return undefined
  try {
    const { signed_at: signedAt, signature } = JSON.parse(text) as Record<string, unknown>
    if (!Number.isSafeInteger(signedAt) || Number(signedAt) < 0 || typeof signature !== 'string') return undefined
    const at = Buffer.alloc(8)
    at.writeBigUInt64BE(BigInt(signedAt as number))
    return { at, signature: Buffer.from(signature, 'base64url') }
  } catch {
    // Whatever it is, it is no signature.
    return undefined
  }
}
