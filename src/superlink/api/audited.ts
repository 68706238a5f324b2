import { errorCatalog } from '../../base/error-catalog.ts'
import { DomainError } from '../../base/errors.ts'
import type { AuditLog } from '../../identity/audit.ts'
import type { Call, Service } from '../../rpc/call.ts'
import { changesState } from './access.ts'

type AnyHandler = (request: unknown, call: Call, caller: unknown) => unknown

/** The same service, with every refusal and every call that changes something in the audit log. */
export function audited(service: Service, listener: string, audit: AuditLog): Service {
  const write = (call: Call, decision: 'allow' | 'refuse', reason = ''): void =>
    audit({
      listener,
      method: call.method,
      peerAddress: call.connection.remoteAddress,
      peer: call.connection.peer,
      decision,
      reason,
    })
  const refusing = async <T>(call: Call, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const reason = refusalOf(error)
      if (reason !== undefined) write(call, 'refuse', reason)
      throw error
    }
  }
  const handlers = Object.entries(service.handlers).map(([name, handler]) => {
    if (!changesState(service.desc.typeName, name)) return [name, handler] as const
    const wrapped: AnyHandler = async (request, call, caller) => {
      const response = await refusing(call, async () => (handler as AnyHandler)(request, call, caller))
      write(call, 'allow')
      return response
    }
    return [name, wrapped] as const
  })
  return {
    ...service,
    authenticate: (call, method, request) => refusing(call, () => service.authenticate(call, method, request)),
    handlers: Object.fromEntries(handlers),
  }
}

/** The code of an error that says who may not do what. */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof DomainError)) return undefined
  const { status } = errorCatalog[error.code]
  return status === 'unauthenticated' || status === 'permission-denied' ? error.code : undefined
}
