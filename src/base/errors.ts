import { type ErrorCode, errorCatalog } from './error-catalog.ts'

/**
 * A refusal. The catalogue row of `code` says how it looks on the wire and at the command line; `detail` is for the log,
 * and for the peer only where the row has no sentence of its own.
 */
export class DomainError extends Error {
  readonly code: ErrorCode
  readonly detail: string | undefined
  /** What the audit log says instead of the code, if the peer is not to learn why. */
  readonly auditedAs: ErrorCode | undefined

  /** How long the peer should wait before it tries again. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    detail?: string,
    options: ErrorOptions & { auditedAs?: ErrorCode; retryAfterMs?: number } = {},
  ) {
    super(detail ?? errorCatalog[code].sentence, options)
    this.name = 'DomainError'
    this.code = code
    this.detail = detail
    this.auditedAs = options.auditedAs
    this.retryAfterMs = options.retryAfterMs
  }

  /** Stable code of why a peer was rejected, if it was rejected because of its identity. */
  get refusalReason(): string | undefined {
    return errorCatalog[this.code].refusesPeer ? this.code : undefined
  }

  /** What a peer is told. */
  get publicSentence(): string {
    const row = errorCatalog[this.code]
    return row.showsDetail && this.detail ? this.detail : row.sentence
  }
}

/**
 * A user's mistake at the command line: one sentence that names the thing and the remedy, and the process' exit status.
 * `flowerCode` is the code that Flower prints as `Exit Code: n`.
 */
export class UsageError extends Error {
  readonly exitStatus: number
  readonly flowerCode: number | undefined

  constructor(message: string, options: { exitStatus?: number; flowerCode?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'UsageError'
    this.exitStatus = options.exitStatus ?? 1
    this.flowerCode = options.flowerCode
  }
}

/** Returns the text of anything that was thrown. Messages of OpenSSL end in a line end, which is cut off. */
export function errorText(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trimEnd()
}
