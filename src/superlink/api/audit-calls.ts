import { errorCatalog } from '../../base/error-catalog.ts'
import { DomainError } from '../../base/errors.ts'
import type { AuditLog } from '../../identity/audit.ts'
import type { CallHead } from '../../rpc/call.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'

/** Writes every refused caller, and every call that changes something, to the audit log. */
export function auditCalls(listener: string, audit: AuditLog): Interceptor {
  const write = (head: CallHead, decision: 'allow' | 'refuse', reason = ''): void =>
    audit({
      listener,
      method: head.method,
      peerAddress: head.connection.remoteAddress,
      peer: head.connection.peer,
      decision,
      reason,
    })
  return {
    onResponse(head, { row }) {
      if (row.changes) write(head, 'allow')
    },
    onError(head, { row }, error, step) {
      const reason = refusalOf(error)
      if (reason !== undefined && (step === 'before' || row.changes)) write(head, 'refuse', reason)
    },
  }
}

/** The code of an error that says that the caller may not do this. A run that has ended refuses no caller. */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof DomainError)) return undefined
  if (error.code === 'run-not-running') return error.auditedAs
  const { status } = errorCatalog[error.code]
  return status === 'unauthenticated' || status === 'permission-denied' ? error.code : error.auditedAs
}
