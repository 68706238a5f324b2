import { limits } from '../base/limits.ts'
import { oneLine, shortened } from '../base/printable.ts'
import { type WireStatus, wireStatuses } from '../base/wire-status.ts'

/**
 * A failed call as a client sees it. `message` is one sentence that a person can act on. It may hold words of the server,
 * so it is one printable line of limited length.
 */
export class RpcError extends Error {
  readonly status: WireStatus
  /**
   * `peer`: the server answered with an error; `unreachable`: nobody answered; `tls`: no trusted connection can be made;
   * `protocol`: what answered is not what we speak; `replaced`: the connection was that of a former certificate; `untaken`: the
   * connection ended before the server took the call, which may be made over another at once.
   */
  readonly kind: 'peer' | 'unreachable' | 'tls' | 'protocol' | 'replaced' | 'untaken'
  /** Flower's number of the error, from the HTTP generation. */
  readonly number: number | undefined
  /** Stable code of why our certificate was refused. */
  readonly refusalReason: string | undefined

  constructor(
    status: WireStatus,
    message: string,
    options: {
      kind?: RpcError['kind']
      number?: number | undefined
      refusalReason?: string | undefined
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
  }

  /** Whether the same call may succeed later without anybody changing anything. */
  get retryable(): boolean {
    return (
      ['unreachable', 'replaced', 'untaken'].includes(this.kind) ||
      (this.kind === 'peer' && this.status === 'unavailable')
    )
  }
}

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
