import { readFileSync } from 'node:fs'
import { UsageError } from '../base/errors.ts'
import type { FileFlag } from './tls-files.ts'

/** The bytes of a secret, as they are. Throws a UsageError with `flowerCode` that names flag and file. */
export function readSecretFile({ flag, path }: FileFlag, flowerCode: number): Uint8Array {
  let secret: Uint8Array
  try {
    secret = readFileSync(path)
  } catch (cause) {
    throw new UsageError(`${flag}: ${path} cannot be read.`, { flowerCode, cause })
  }
  if (secret.length === 0) throw new UsageError(`${flag}: ${path} is empty.`, { flowerCode })
  return secret
}
