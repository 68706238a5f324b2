import type { WireStatus } from '../base/wire-status.ts'

/**
 * Every way in which a call of a client fails, and whether waiting can help. Long-lived programs (SuperNode, SuperExec, app
 * processes) try again or end by this table alone. The reference page `failures.md` is made from it.
 *
 * - `helps`: the program waits, and says for what.
 * - `a few times`: the server has a fault, which may be gone at the next try.
 * - `if it worked before`: at the start it is a mistake of the configuration, and the program ends; later it is a change at the
 *   server, which the server's operator can undo.
 * - `no`: the program ends with the sentence of the error, because it would get the same response again.
 */
export type Waiting = 'helps' | 'a few times' | 'if it worked before' | 'no'

interface FailureRow {
  readonly seen: string
  readonly waiting: Waiting
}

const rows = {
  // No connection
  'name-unknown': { seen: 'the host name of the server cannot be resolved', waiting: 'helps' },
  'connection-refused': { seen: 'no program listens at the address', waiting: 'helps' },
  'connection-timeout': { seen: 'the server does not take the connection in time', waiting: 'helps' },
  'handshake-cut': { seen: 'the server closes the connection during the TLS handshake', waiting: 'helps' },
  unreachable: { seen: 'the network fails in another way', waiting: 'helps' },
  'settings-cut': { seen: 'the server closes the connection before it speaks HTTP/2', waiting: 'helps' },
  'settings-late': { seen: 'the server takes the connection, and does not speak HTTP/2 in time', waiting: 'helps' },
  // The server at the other end
  'server-untrusted': { seen: 'the certificate of the server is not trusted', waiting: 'if it worked before' },
  'server-misnamed': { seen: 'the certificate of the server is for another name', waiting: 'if it worked before' },
  'server-out-of-dates': {
    seen: 'the certificate of the server has expired or is not valid yet',
    waiting: 'if it worked before',
  },
  'server-revoked': {
    seen: 'the OCSP response of the server says that its certificate is revoked',
    waiting: 'if it worked before',
  },
  'not-tls': { seen: 'the server does not speak TLS', waiting: 'if it worked before' },
  'tls-failed': { seen: 'the TLS handshake fails in another way', waiting: 'if it worked before' },
  'not-grpc': { seen: 'the server speaks another protocol than HTTP/2', waiting: 'if it worked before' },
  'other-server': { seen: 'a proxy, or another kind of server, refuses the call', waiting: 'if it worked before' },
  // A connection that ends
  'connection-broken': { seen: 'the connection breaks during a call', waiting: 'helps' },
  untaken: { seen: 'the connection ends before the server takes the call', waiting: 'helps' },
  replaced: { seen: 'the connection of a replaced certificate ends', waiting: 'helps' },
  'no-response': { seen: 'the server does not respond to a call in time', waiting: 'helps' },
  // Responses of the server
  unavailable: {
    seen: 'the server, or a proxy before it, is unavailable (UNAVAILABLE, 502, 503, 504)',
    waiting: 'helps',
  },
  busy: { seen: 'the server has too much to do, and says how long to wait', waiting: 'helps' },
  'server-fault': { seen: 'the server has an internal error (INTERNAL, 500)', waiting: 'a few times' },
  'certificate-refused': { seen: 'the server refuses the certificate, with a reason (refusals.md)', waiting: 'no' },
  'revocation-unknown': {
    seen: 'the server cannot find out whether the certificate is revoked',
    waiting: 'if it worked before',
  },
  'too-many-connections': {
    seen: 'the identity has too many connections at the server',
    waiting: 'if it worked before',
  },
  refused: { seen: 'the server refuses the call (any other status)', waiting: 'no' },
  malformed: { seen: 'the response is not of the expected kind, or larger than its limit', waiting: 'no' },
  closed: { seen: 'the program has closed its own channel', waiting: 'no' },
} as const satisfies Record<string, FailureRow>

export type CallFailure = keyof typeof rows
export const callFailures: Readonly<Record<CallFailure, FailureRow>> = rows

/** Returns the row of a response with an error. */
export function failureOfResponse(
  status: WireStatus,
  { refusalReason, retryAfterMs }: { refusalReason?: string | undefined; retryAfterMs?: number | undefined },
): CallFailure {
  if (refusalReason === 'revocation-unknown' || refusalReason === 'too-many-connections') return refusalReason
  if (refusalReason !== undefined) return 'certificate-refused'
  if (status === 'unavailable') return 'unavailable'
  if (status === 'deadline-exceeded') return 'no-response'
  if (status === 'internal') return 'server-fault'
  return status === 'resource-exhausted' && retryAfterMs !== undefined ? 'busy' : 'refused'
}

/**
 * Whether the server may have handled a call that failed so, or may still do that. A server that is unavailable, or has a fault,
 * may have changed something before.
 */
export function mayHaveBeenHandled(failure: CallFailure): boolean {
  return handled.has(failure)
}

const handled: ReadonlySet<CallFailure> = new Set([
  ...(['connection-broken', 'replaced', 'no-response', 'unavailable', 'server-fault'] as const),
])

export interface CallHistory {
  /** How often this call was tried before. */
  readonly tries: number
  /** Whether the server has responded to a call of this program before. */
  readonly hasWorked: boolean
}

/** Whether a program tries again after this failure. */
export function waitingHelps(failure: CallFailure, { tries, hasWorked }: CallHistory): boolean {
  const { waiting } = callFailures[failure]
  if (waiting === 'a few times') return tries < faultsMax
  return waiting === 'helps' || (waiting === 'if it worked before' && hasWorked)
}

/** How many tries in a row may meet an internal error of the server. */
const faultsMax = 4
