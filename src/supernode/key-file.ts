import { readFileSync } from 'node:fs'
import { UsageError } from '../base/errors.ts'
import { type NodeKey, toNodeKey } from '../identity/node-key.ts'
import { readOpensshPrivateKey } from '../identity/openssh-key.ts'

/** Reads the key of `--auth-supernode-private-key`. Throws a UsageError that names the file. */
export function readKey(path: string): NodeKey {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(`--auth-supernode-private-key: ${path} cannot be read.`, { flowerCode: 302, cause })
  }
  return toNodeKey(readOpensshPrivateKey(text, `--auth-supernode-private-key: ${path}`))
}
