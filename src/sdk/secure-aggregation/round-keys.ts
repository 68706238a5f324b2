import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'

/** The keys of one round: X25519 pairs, secrets of two nodes, and what is derived from them. */

export const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** What precedes the 32 bytes of a key in its DER file (RFC 8410). */
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex')
const publicPrefix = Buffer.from('302a300506032b656e032100', 'hex')

export interface KeyPair {
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
}

/** Creates a pair of X25519 keys. */
export function newKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('x25519', {
    privateKeyEncoding: { format: 'der', type: 'pkcs8' },
    publicKeyEncoding: { format: 'der', type: 'spki' },
  })
  return {
    privateKey: Uint8Array.from(privateKey.subarray(-keyBytes)),
    publicKey: Uint8Array.from(publicKey.subarray(-keyBytes)),
  }
}

/** Returns the public key that belongs to a private one. */
export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  const der = createPublicKey(privateKeyObject(privateKey)).export({ format: 'der', type: 'spki' })
  return Uint8Array.from(der.subarray(-keyBytes))
}

/** Returns a function that gives the secret that this key shares with the owner of a public key. */
export function sharedSecrets(privateKey: Uint8Array): (publicKey: Uint8Array) => Uint8Array {
  const ownKey = privateKeyObject(privateKey)
  return (publicKey) => {
    const key = Buffer.concat([publicPrefix, publicKey])
    return diffieHellman({ privateKey: ownKey, publicKey: createPublicKey({ key, format: 'der', type: 'spki' }) })
  }
}

function privateKeyObject(privateKey: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([privatePrefix, privateKey]), format: 'der', type: 'pkcs8' })
}

export type Purpose = 'shares' | 'pair mask' | 'own mask'

/** Derives a key of 32 bytes by HKDF-SHA256: another one for each round attempt, purpose, and nodes. */
export function derivedKey(
  secret: Uint8Array,
  session: Uint8Array,
  purpose: Purpose,
  nodes: readonly Uint8Array[],
): Uint8Array {
  const info = Buffer.concat([Buffer.from(`trellis secure aggregation 1, ${purpose}`), ...nodes])
  return new Uint8Array(hkdfSync('sha256', secret, session, info, keyBytes))
}

/** Encrypts by AES-256-GCM: nonce, ciphertext and tag in one. */
export function seal(key: Uint8Array, plain: Uint8Array, nonce: Uint8Array = randomBytes(nonceBytes)): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Uint8Array.from(Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
}

/** Decrypts what {@link seal} made. Returns `undefined` if it was made with another key, or changed. */
export function unseal(key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < nonceBytes + tagBytes) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes))
  decipher.setAuthTag(sealed.subarray(-tagBytes))
  try {
    return Uint8Array.from(Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]))
  } catch {
    return undefined
  }
}
