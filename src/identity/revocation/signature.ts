import { type KeyObject, verify } from 'node:crypto'

/** Digest by the OID (hexadecimal) of the signature algorithm; those that can be forged are not among them. */
const digests: ReadonlyMap<string, string | null> = new Map([
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2b6570', null],
])

export function acceptsAlgorithm(algorithm: string): boolean {
  return digests.has(algorithm)
}

/** Whether `key` has signed `data`; false too for an algorithm that is not accepted. */
export function isSignature(signature: Uint8Array, algorithm: string, data: Uint8Array, key: KeyObject): boolean {
  const digest = digests.get(algorithm)
  if (digest === undefined) return false
  try {
    return verify(digest, data, key, signature)
  } catch {
    // Kinds of key and signature that do not fit.
    return false
  }
}

/** As {@link isSignature}, on another thread: what is large takes a while. */
export function isSignatureLater(
  ...[signature, algorithm, data, key]: Parameters<typeof isSignature>
): Promise<boolean> {
  const digest = digests.get(algorithm)
  if (digest === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    try {
      verify(digest, data, key, signature, (error, isGood) => resolve(!error && isGood))
    } catch {
      resolve(false)
    }
  })
}
