import { errorCatalog, refusalRow } from '../base/error-catalog.ts'
import { DomainError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type WireStatus, wireStatuses } from '../base/wire-status.ts'
import type { RefusedPeer } from '../identity/caller.ts'

/** An error as both doors need it. This file is the only place where ours become the wire's. */
export interface WireError {
  readonly status: WireStatus
  readonly grpcCode: number
  readonly httpStatus: number
  /** Flower's number of the error, where it has one. */
  readonly number: number | undefined
  readonly grpcSentence: string
  readonly httpSentence: string
  /** Why a peer was refused, for the `trellis-refusal-reason` header. */
  readonly refusalReason?: string
  readonly retryAfterSeconds?: number
}

/** Ends a call whose caller hung up: nothing can be sent to it. */
export class CallerGone extends Error {
  constructor() {
    super('The caller hung up.')
    this.name = 'CallerGone'
  }
}

/** Ends a call of a peer that is refused. */
export class Refusal extends Error {
  readonly wire: WireError

  constructor(peer: RefusedPeer) {
    super(peer.sentence)
    this.wire = refusalError(peer)
  }
}

export function messageTooLarge(bytesMax: number): DomainError {
  return new DomainError('message-too-large', `Message larger than ${bytesMax} bytes.`)
}

/** Turns whatever a handler threw into what the peer may know; the rest goes to the log. */
export function toWireError(error: unknown, method: string, log: Logger): WireError {
  if (error instanceof Refusal) return error.wire
  if (error instanceof DomainError) {
    const row = errorCatalog[error.code]
    if (error.code === 'internal') log.error('Call failed', { method, error })
    else log.debug('Call refused', { method, code: error.code, detail: error.detail, cause: error.cause })
    const detail = row.showsDetail ? error.detail : undefined
    const wire = wireError(row.status, row.number, detail ?? row.sentence, detail ?? row.httpSentence ?? row.sentence)
    const { retryAfterMs } = error
    const retryAfterSeconds = retryAfterMs === undefined ? row.retryAfterSeconds : Math.ceil(retryAfterMs / 1000)
    return {
      ...wire,
      ...(row.httpStatus === undefined ? {} : { httpStatus: row.httpStatus }),
      ...(error.refusalReason === undefined ? {} : { refusalReason: error.refusalReason }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    }
  }
  if (error instanceof CallerGone) {
    log.debug('A caller hung up within its request', { method })
    return wireError('unavailable', undefined, error.message)
  }
  if (isAbort(error)) return wireError('unavailable', undefined, 'The server is stopping. Try again.')
  log.error('Call failed', { method, error })
  const row = errorCatalog[isCalledByPeople(method) ? 'internal' : 'unavailable']
  return wireError(row.status, undefined, row.sentence)
}

/** People see an error. Programs come again: Flower's end for good, or stay as zombies, at anything but that. */
function isCalledByPeople(method: string): boolean {
  return method.startsWith('/flwr.proto.Control/')
}

/** A refused peer learns why, whatever it calls. */
export function refusalError(peer: RefusedPeer): WireError {
  const { status, number } = refusalRow(peer.reason)
  return { ...wireError(status, number, peer.sentence), refusalReason: peer.reason }
}

/** Flower's JSON error body. */
export function httpErrorBody({ number, httpSentence }: WireError): string {
  return JSON.stringify({ ...(number === undefined ? {} : { code: number }), detail: httpSentence })
}

function wireError(
  status: WireStatus,
  number: number | undefined,
  sentence: string,
  httpSentence = sentence,
): WireError {
  const { grpc, http } = wireStatuses[status]
  return { status, number, grpcCode: grpc, httpStatus: http, grpcSentence: sentence, httpSentence }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
