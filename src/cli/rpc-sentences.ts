import { errorText, UsageError } from '../base/errors.ts'
import { RpcError } from '../rpc/rpc-error.ts'

/** What a SuperLink's words mean for the person at the keyboard, where Flower's own words do not say it. */
const sentences: readonly (readonly [RegExp, string])[] = [
  [/^Run ID not found/, 'The run was not found, or belongs to another account: see flwr ls.'],
  [/^Node ID not found/, 'The SuperNode was not found, or belongs to another account: see flwr supernode ls.'],
  [/^Public key already in use/, 'The public key is already in use by another SuperNode.'],
  [
    /^The provided public key is not valid/,
    'The public key is not valid: give an elliptic-curve key of a NIST curve, e.g. from ssh-keygen -t ecdsa -b 384.',
  ],
  [/^(Federation '.+' does not exist)/, '$1, or you are not a member of it: see flwr federation ls.'],
  [
    /does not implement the method \/flwr\.proto\.Control/,
    "The server at this address does not serve the Control API: correct 'address' in config.toml (its port is 9093 by default).",
  ],
  [/without account authentication/, 'Account authentication is not enabled on this SuperLink.'],
  [/without artifact provider/, 'This SuperLink does not support flwr pull.'],
]

/** A failed call as one sentence; anything else stays what it is. */
export function explainRpcError(error: unknown): unknown {
  return error instanceof RpcError ? new UsageError(sentenceOf(error), { cause: error }) : error
}

/** Returns why a call failed, in one sentence. */
export function sentenceOfFailure(error: unknown): string {
  return errorText(explainRpcError(error))
}

/** Whether the same call may succeed later without any change. */
export function isRetryable(error: unknown): boolean {
  return error instanceof RpcError && error.retryable
}

/**
 * Whether the SuperLink does not know the method. Over HTTP the route is not found then; but the errors of Flower for a run or
 * a node that is not found have a number there, and over gRPC their sentence.
 */
export function isUnknownMethod(error: unknown): boolean {
  if (!(error instanceof RpcError)) return false
  if (error.status === 'unimplemented') return true
  return error.status === 'not-found' && error.number === undefined && !/^(Run|Node) ID not found/.test(error.message)
}

function sentenceOf({ kind, message, refusalReason, status }: RpcError): string {
  // Our own words about the connection, and the SuperLink's about a refused certificate, are meant for people.
  if (kind !== 'peer' || refusalReason !== undefined) return message
  for (const [pattern, sentence] of sentences) {
    const found = pattern.exec(message)
    if (found) return sentence.replace('$1', found[1] ?? '')
  }
  if (status === 'unauthenticated') return `Authentication failed: ${message}`
  if (status === 'permission-denied') return `Permission denied.\n${message}`
  return message
}
