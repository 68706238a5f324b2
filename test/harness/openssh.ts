import { generateKeyPairSync } from 'node:crypto'

/** A fresh public key as ssh-keygen writes it, on the curve P-384. */
export function opensshPublicKey(): string {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
  const fields = ['ecdsa-sha2-nistp384', 'nistp384', point].map((field) => {
    const bytes = Buffer.from(field)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  })
  return `ecdsa-sha2-nistp384 ${Buffer.concat(fields).toString('base64')} test\n`
}
