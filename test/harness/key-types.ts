import { generateKeyPairSync, getCurves, type KeyObject, sign, verify } from 'node:crypto'
import { toPem } from '../../src/identity/pem.ts'

/** Certificates with every kind of key that this process can make, assembled by hand: our own code issues only good ones. */

export interface KeyType {
  readonly name: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** Returns a key of each kind that the linked OpenSSL makes. */
export function everyKeyType(): KeyType[] {
  const generate = generateKeyPairSync as (type: string, options?: object) => Omit<KeyType, 'name'>
  const asymmetric = 'ed25519 ed448 x25519 x448 ml-dsa-44 ml-dsa-65 ml-dsa-87 ml-kem-768 slh-dsa-sha2-128f'.split(' ')
  const wanted: [name: string, type: string, options?: object][] = [
    ...getCurves().map((curve): [string, string, object] => [curve, 'ec', { namedCurve: curve }]),
    ...['P-256', 'secp256k1', 'brainpoolP256r1', 'sect283k1'].map((curve): [string, string, object] => [
      ...([`${curve} with explicit parameters`, 'ec'] as const),
      { namedCurve: curve, paramEncoding: 'explicit' },
    ]),
    ...[512, 1024, 2048, 2056].map((bits): [string, string, object] => [`RSA ${bits}`, 'rsa', { modulusLength: bits }]),
    ['RSA-PSS', 'rsa-pss', { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' }],
    ['DSA', 'dsa', { modulusLength: 1024, divisorLength: 160 }],
    ['DH', 'dh', { group: 'modp14' }],
    ...asymmetric.map((type): [string, string] => [type, type]),
  ]
  return wanted.flatMap(([name, type, options]) => {
    try {
      const pair = generate(type, options)
      pair.publicKey.export({ type: 'spki', format: 'der' })
      return [{ name, ...pair }]
    } catch {
      // Listed, or known to other releases, but not made or not written by this OpenSSL.
      return []
    }
  })
}

export interface MadeCertificate {
  readonly name: string
  readonly der: Buffer
  readonly key: KeyType
}

export interface MadeRequest {
  readonly name: string
  readonly key: KeyType
  readonly issuer?: MadeCertificate
  readonly isCa: boolean
  readonly damage?: Damage | undefined
}

export const damages = {
  'a flipped bit in the key': (spki: Buffer) => {
    const changed = Buffer.from(spki)
    changed[changed.length - 9] = (changed.at(-9) as number) ^ 0x10
    return changed
  },
  'another algorithm': (spki: Buffer) => {
    const changed = Buffer.from(spki)
    const oid = changed.indexOf(0x06)
    const last = oid + 1 + (changed[oid + 1] as number)
    changed[last] = (changed[last] as number) ^ 0x55
    return changed
  },
  'a key of no bytes': (spki: Buffer) => {
    // Keeps the algorithm, which is the first element of the outer sequence.
    const start = 2 + (((spki[1] as number) & 0x80) !== 0 ? (spki[1] as number) & 0x7f : 0)
    const length = 2 + (spki[start + 1] as number)
    const isShort = ((spki[start + 1] as number) & 0x80) === 0
    return isShort ? sequence(spki.subarray(start, start + length), element(0x03, Buffer.from([0]))) : spki
  },
} satisfies Record<string, (spki: Buffer) => Buffer>
export type Damage = keyof typeof damages

/** Issues a certificate, signed by its issuer or, without one, by itself. */
export function makeCertificate({ name, key, issuer, isCa, damage }: MadeRequest): MadeCertificate {
  const signer = issuer?.key ?? key
  const algorithm = signatureAlgorithm(signer)
  const spki = key.publicKey.export({ type: 'spki', format: 'der' })
  const extension = (oid: string, value: Buffer): Buffer => sequence(objectId(oid), element(0x04, value))
  const extensions = isCa
    ? extension('551d13', sequence(Buffer.from('0101ff', 'hex')))
    : extension('551d11', sequence(element(0x82, 'localhost'), element(0x87, Buffer.from([127, 0, 0, 1]))))
  serial += 1
  const body = sequence(
    Buffer.from('a003020102', 'hex'),
    element(0x02, Buffer.from([0x40, serial >> 8, serial & 0xff])),
    algorithm,
    nameOf(issuer?.name ?? name),
    sequence(time(-3600_000), time(86_400_000)),
    nameOf(name),
    damage === undefined ? spki : damages[damage](spki),
    element(0xa3, sequence(extensions)),
  )
  const signature = element(0x03, Buffer.concat([Buffer.from([0]), signatureOf(body, signer)]))
  return { name, key, der: sequence(body, algorithm, signature) }
}

export const pemOf = ({ der }: MadeCertificate): string => toPem('CERTIFICATE', der)

let serial = 0

function signatureOf(body: Buffer, { privateKey }: KeyType): Buffer {
  const digest = ['ec', 'rsa', 'rsa-pss', 'dsa'].includes(privateKey.asymmetricKeyType ?? '') ? 'sha256' : null
  try {
    return sign(digest, body, privateKey)
  } catch {
    // Keys that only agree on secrets, and those that are too small for the digest.
    return Buffer.alloc(64, 1)
  }
}

/** Whether a key of this kind makes signatures that it verifies itself. */
export function canSign(key: KeyType): boolean {
  const body = Buffer.from('body')
  try {
    const digest = ['ec', 'rsa', 'rsa-pss', 'dsa'].includes(key.privateKey.asymmetricKeyType ?? '') ? 'sha256' : null
    return verify(digest, body, key.publicKey, signatureOf(body, key))
  } catch {
    return false
  }
}

function signatureAlgorithm({ privateKey }: KeyType): Buffer {
  const type = privateKey.asymmetricKeyType ?? ''
  if (type === 'ec') return sequence(objectId('2a8648ce3d040302'))
  if (type === 'rsa') return sequence(objectId('2a864886f70d01010b'), Buffer.from('0500', 'hex'))
  if (type === 'dsa') return sequence(objectId('608648016503040302'))
  // Of all others the algorithm of the signature is that of the key.
  const spki = privateKey.asymmetricKeyType === undefined ? undefined : publicSpki(privateKey)
  return spki ?? sequence(objectId('2a8648ce3d040302'))
}

function publicSpki(key: KeyObject): Buffer {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  // PrivateKeyInfo: version, then the algorithm.
  const at = pkcs8.indexOf(Buffer.from('020100', 'hex')) + 3
  return pkcs8.subarray(at, at + 2 + (pkcs8[at + 1] as number))
}

function nameOf(commonName: string): Buffer {
  return sequence(element(0x31, sequence(objectId('550403'), element(0x0c, commonName))))
}

function time(offsetMs: number): Buffer {
  const digits = new Date(Date.now() + offsetMs).toISOString().replace(/[-:T]|\.\d+/g, '')
  return element(0x17, digits.slice(2))
}

function objectId(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, 'hex'))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

function element(tag: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content as string)
  const { length } = bytes
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), bytes])
}
