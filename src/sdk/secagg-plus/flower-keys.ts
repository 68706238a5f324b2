import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

/** The keys and the encryption of Flower's SecAgg+: P-384 keys as PEM files, HKDF, and Fernet tokens. */

const utf8 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

/** Creates a pair of keys, each as a PEM file. */
export function newFlowerKeys(): { privateKey: Uint8Array; publicKey: Uint8Array } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-384',
    privateKeyEncoding: { format: 'pem', type: 'pkcs8' },
    publicKeyEncoding: { format: 'pem', type: 'spki' },
  })
  return { privateKey: utf8(privateKey), publicKey: utf8(publicKey) }
}

/** Whether it is a public key that nodes can agree on a secret with. */
export function isFlowerKey(publicKey: Uint8Array): boolean {
  try {
    return createPublicKey(Buffer.from(publicKey)).asymmetricKeyDetails?.namedCurve === 'secp384r1'
  } catch {
    return false
  }
}

/** Whether they are a pair; `false` for bytes that are no private key. */
export function isFlowerPair(privateKey: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    const derived = createPublicKey(createPrivateKey(Buffer.from(privateKey)))
    return derived.equals(createPublicKey(Buffer.from(publicKey)))
  } catch {
    return false
  }
}

/** The secret of two nodes as Flower uses it: base64 text, of which also the masks are made. */
export function flowerSecret(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const shared = diffieHellman({
    privateKey: createPrivateKey(Buffer.from(privateKey)),
    publicKey: createPublicKey(Buffer.from(publicKey)),
  })
  const derived = Buffer.from(hkdfSync('sha256', shared, new Uint8Array(), new Uint8Array(), 32))
  return utf8(base64Url(derived))
}

/** Base64 with the padding that Python writes. */
function base64Url(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

const headBytes = 9
const ivBytes = 16
const signatureBytes = 32

/** Encrypts to a Fernet token. */
export function fernetEncrypt(secret: Uint8Array, plain: Uint8Array): Uint8Array {
  const key = Buffer.from(Buffer.from(secret).toString(), 'base64url')
  const head = Buffer.alloc(headBytes)
  head[0] = 0x80
  head.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000)), 1)
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-128-cbc', key.subarray(16), iv)
  const signed = Buffer.concat([head, iv, cipher.update(plain), cipher.final()])
  const signature = createHmac('sha256', key.subarray(0, 16)).update(signed).digest()
  return utf8(base64Url(Buffer.concat([signed, signature])))
}

/** Decrypts a Fernet token of any age. Returns `undefined` if it was made with another key, or changed. */
export function fernetDecrypt(secret: Uint8Array, token: Uint8Array): Uint8Array | undefined {
  const key = Buffer.from(Buffer.from(secret).toString(), 'base64url')
  const bytes = Buffer.from(Buffer.from(token).toString(), 'base64url')
  if (bytes.length < headBytes + ivBytes + signatureBytes || bytes[0] !== 0x80) return undefined
  const signed = bytes.subarray(0, -signatureBytes)
  const signature = createHmac('sha256', key.subarray(0, 16)).update(signed).digest()
  if (!timingSafeEqual(signature, bytes.subarray(-signatureBytes))) return undefined
  const decipher = createDecipheriv('aes-128-cbc', key.subarray(16), signed.subarray(headBytes, headBytes + ivBytes))
  return Uint8Array.from(Buffer.concat([decipher.update(signed.subarray(headBytes + ivBytes)), decipher.final()]))
}
