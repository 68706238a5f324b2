import { DomainError, errorText } from '../../base/errors.ts'
import type { BucketTarget } from './bucket-target.ts'

/**
 * An S3 server does not do what it was asked. The message says what happened and what helps. It is for the operator: peers
 * get the sentence of `storage-unavailable`.
 */
export class BucketError extends DomainError {
  /** Whether trying again without a change by the operator has no sense. */
  readonly isFinal: boolean
  /** Whether it concerns the server, not one object. */
  readonly isOutage: boolean

  constructor(
    detail: string,
    {
      isFinal,
      cause,
      isOutage = true,
    }: { readonly isFinal: boolean; readonly cause?: unknown; readonly isOutage?: boolean },
  ) {
    super('storage-unavailable', detail, { cause })
    this.name = 'BucketError'
    this.isFinal = isFinal
    this.isOutage = isOutage
  }

  /** The message begins with the URL of the bucket. */
  get sentence(): string {
    return `The object store ${this.message}`
  }
}

/** What an S3 server says in a response that is no success. */
export interface Refusal {
  readonly status: number
  /** As S3 names it; empty if the response says nothing. */
  readonly code: string
  readonly region: string | undefined
  /** Of the server, to compare it with ours. */
  readonly date: Date | undefined
}

/** Codes that a server sends while it is busy, or because bytes were damaged on their way. */
const passing = new Set([
  ...['RequestTimeout', 'SlowDown', 'Throttling', 'ThrottlingException', 'InternalError', 'ServiceUnavailable'],
  ...['BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch', 'IncompleteBody', 'OperationAborted'],
])

export function isPassing({ status, code }: Refusal): boolean {
  return status >= 500 || status === 408 || status === 429 || passing.has(code)
}

export function errorOfRefusal(target: BucketTarget, action: string, refusal: Refusal): BucketError {
  const isFinal = !isPassing(refusal)
  return new BucketError(`${target.label} ${sentenceOf(target, action, refusal)}`, { isFinal })
}

function sentenceOf({ bucket, url, region }: BucketTarget, action: string, refusal: Refusal): string {
  const { code, status } = refusal
  const { origin } = new URL(url)
  switch (code) {
    case 'NoSuchBucket':
      return `does not exist: create the bucket ${bucket} at ${origin}, or correct --storage.`
    case 'InvalidAccessKeyId':
    case 'XAdminUserNotFound':
      return 'rejects the access key: it is unknown there. Correct the credentials.'
    case 'SignatureDoesNotMatch':
      return 'rejects the secret access key: it does not belong to the access key. Correct the credentials.'
    case 'ExpiredToken':
    case 'InvalidToken':
    case 'TokenRefreshRequired':
      return 'rejects the session token: it has expired. Renew the credentials.'
    case 'RequestTimeTooSkewed':
    case 'RequestExpired':
      return `rejects requests because of their time${skewOf(refusal)}: set the clock of this machine, for example with NTP.`
    case 'AccessDenied':
    case 'AllAccessDisabled':
    case 'AccountProblem':
      return `does not let these credentials ${action}: allow s3:ListBucket and s3:ListBucketMultipartUploads for the bucket, and s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload for what is in it.`
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return `is not in the region ${region}: ${refusal.region ? `add region=${refusal.region} to --storage` : 'correct region=… and endpoint=… in --storage'}.`
    case 'QuotaExceeded':
    case 'InsufficientStorage':
    case 'XMinioStorageFull':
      return 'is full: make room, or raise its quota.'
  }
  if (status === 401 || status === 403)
    return `does not let these credentials ${action} (status ${status}): correct them, or their rights.`
  if (isPassing(refusal)) return `is out of order: it responds with status ${status}${code ? ` (${code})` : ''}.`
  return `does not ${action}: it responds with status ${status}${code ? ` (${code})` : ''}. Check that ${origin} is an S3 server.`
}

function skewOf({ date }: Refusal): string {
  if (!date || Number.isNaN(date.getTime())) return ''
  const seconds = Math.round((Date.now() - date.getTime()) / 1000)
  if (Math.abs(seconds) < 60) return ''
  return ` (this clock is ${Math.round(Math.abs(seconds) / 60)} minutes ${seconds > 0 ? 'ahead' : 'behind'})`
}

/** Errors of OpenSSL and Node that say that the certificate of the server is not trusted. */
const certificateCodes: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired: renew it.',
  CERT_NOT_YET_VALID: 'is not valid yet: set the clock of this machine, or renew the certificate.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has another name: correct endpoint=… in --storage.',
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted(),
  SELF_SIGNED_CERT_IN_CHAIN: untrusted(),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted(),
  UNABLE_TO_GET_ISSUER_CERT: untrusted(),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted(),
}

function untrusted(): string {
  return 'is not from a CA that is trusted: name the file of its CA with --storage-ca-certfile.'
}

/** There are no keys for a request: their file cannot be read, or holds something else. */
export function errorOfCredentials({ label }: BucketTarget, error: unknown): BucketError {
  return new BucketError(`${label} cannot be used: ${errorText(error)}`, { isFinal: true, cause: error })
}

/** The connection failed, or was cut. */
export function errorOfConnection(target: BucketTarget, error: NodeJS.ErrnoException): BucketError {
  const { code = '', message } = error
  const { origin } = new URL(target.url)
  const certificate = certificateCodes[code]
  const say = (what: string, isFinal = false) => new BucketError(`${target.label} ${what}`, { isFinal, cause: error })
  if (certificate) return say(`cannot be used: the certificate of ${origin} ${certificate}`, true)
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('HPE_'))
    return say(`cannot be used: ${origin} does not speak this protocol. Use http or https as the server does.`, true)
  if (code === 'ECONNREFUSED') return say(`cannot be reached: ${origin} refuses connections.`)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return say(`cannot be reached: the host name of ${origin} cannot be resolved.`)
  return say(`cannot be reached: ${origin}: ${code || message}.`)
}
