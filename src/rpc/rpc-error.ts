import { limits } from '../base/limits.ts'
import { oneLine, shortened } from '../base/printable.ts'
import { type WireStatus, wireStatuses } from '../base/wire-status.ts'
import { type CallFailure, callFailures, failureOfResponse } from './call-failures.ts'

/**
 * A failed call as a client sees it. `message` is one sentence that a person can act on. It may hold words of the server,
 * so it is one printable line of limited length.
 */
export class RpcError extends Error {
  readonly status: WireStatus
  /**
   * `peer`: the server responded with an error. `unreachable`: there was no response. `tls`: no trusted connection can be made.
   * `protocol`: the response is not of our protocol. `replaced`: the connection was that of a former certificate. `untaken`: the
   * connection ended before the server took the call, which may be made over another at once.
   */
  readonly kind: 'peer' | 'unreachable' | 'tls' | 'protocol' | 'replaced' | 'untaken'
  /** Flower's number of the error, from the HTTP generation. */
  readonly number: number | undefined
  /** Stable code of why our certificate was refused. */
  readonly refusalReason: string | undefined
  /** The row of the table that says whether waiting can help. */
  readonly failure: CallFailure
  /** How long a busy server wants us to wait. */
  readonly retryAfterMs: number | undefined

  constructor(
    status: WireStatus,
    message: string,
    options: {
      kind?: RpcError['kind']
      number?: number | undefined
      refusalReason?: string | undefined
      failure?: CallFailure | undefined
      retryAfterMs?: number | undefined
      cause?: unknown
    } = {},
  ) {
    super(
      shortened(oneLine(message), limits.logValueCharactersMax),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'RpcError'
    this.status = status
    this.kind = options.kind ?? 'peer'
    this.number = options.number
    this.refusalReason = options.refusalReason
    this.retryAfterMs = options.retryAfterMs
    this.failure =
      options.failure ?? (this.kind === 'peer' ? failureOfResponse(status, this) : failureOfKind[this.kind])
  }

  /** Whether the same call may succeed later without any change. */
  get retryable(): boolean {
    return callFailures[this.failure].waiting === 'helps'
  }
}

/** The error of a call whose caller has taken it back. */
export function callCancelled(): RpcError {
  return new RpcError('deadline-exceeded', 'The call was cancelled.')
}

const failureOfKind = {
  unreachable: 'unreachable',
  tls: 'tls-failed',
  protocol: 'malformed',
  replaced: 'replaced',
  untaken: 'untaken',
} as const satisfies Record<Exclude<RpcError['kind'], 'peer'>, CallFailure>

const entries = Object.entries(wireStatuses) as [WireStatus, { grpc: number; http: number }][]

export function statusOfGrpcCode(code: number): WireStatus {
  return entries.find(([, codes]) => codes.grpc === code)?.[0] ?? 'internal'
}

export function statusOfHttp(httpStatus: number): WireStatus {
  if (httpStatus === 502 || httpStatus === 504) return 'unavailable'
  if (httpStatus === 413) return 'resource-exhausted'
  return (
    entries.find(([, codes]) => codes.http === httpStatus)?.[0] ?? (httpStatus < 500 ? 'invalid-argument' : 'internal')
  )
}

/** Returns how long a server asks to wait, within bounds. `Retry-After` in seconds is understood too, but not as a date. */
export function retryAfterOf(headers: Readonly<Record<string, string | string[] | undefined>>): number | undefined {
  const { 'trellis-retry-after-ms': ms, 'retry-after': seconds } = headers
  const text = ms ?? seconds
  if (typeof text !== 'string' || !/^\d{1,9}$/.test(text)) return undefined
  return Math.min(Number(text) * (ms === undefined ? 1000 : 1), limits.retryAfterMsMax)
}

/**
 * Returns the error for a response that is not one of Flower's: a proxy sent it, or a server of another kind. 401 and 403 mean
 * the same from either.
 */
export function refusedByOther(
  httpStatus: number,
  headers: Parameters<typeof retryAfterOf>[0],
  where: string,
): RpcError {
  const isPassing = httpStatus >= 502 || httpStatus === 429
  const isOther = !isPassing && ![401, 403, 500].includes(httpStatus)
  const status = isPassing ? 'unavailable' : statusOfHttp(httpStatus)
  const meaning = meaningOfProxyStatus[httpStatus]
  return new RpcError(status, `${where} answered with HTTP status ${httpStatus}${meaning ? `: ${meaning}` : '.'}`, {
    retryAfterMs: retryAfterOf(headers),
    ...(httpStatus === 413 ? { failure: 'refused' } : isOther ? { failure: 'other-server' } : {}),
  })
}

const noServer = 'a proxy there does not reach its server.'
/** What a proxy means, as the rest of a sentence. */
const meaningOfProxyStatus: Readonly<Record<number, string>> = {
  413: 'the request is too large for a proxy there; raise its limit (nginx: client_max_body_size).',
  502: noServer,
  503: noServer,
  504: noServer,
}
