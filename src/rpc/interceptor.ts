import type { CallHead } from './call.ts'
import type { CalledMethod } from './service.ts'

/**
 * Observes the steps of every call at a listener, or refuses a call by throwing. A listener runs its interceptors in the
 * order of its list, at each step: head, caller, request, then response or error. The head is the same object at each step, so an
 * interceptor may keep what it knows of a call by it. Its signal is made when it is asked for, which most calls never do.
 */
export interface Interceptor {
  /** The head has arrived; the caller is not identified yet. */
  onHead?(head: CallHead, method: CalledMethod): void
  /** The caller is identified from the head; the body has not been received. */
  onCaller?(head: CallHead, method: CalledMethod, caller: unknown): void
  /** The request is decoded and the caller verified; the handler runs next. */
  onRequest?(head: CallHead, method: CalledMethod, caller: unknown, request: unknown): void | Promise<void>
  /** A unary call succeeded. */
  onResponse?(head: CallHead, method: CalledMethod, result: CallResult): void
  /** The call failed: in its handler, or before. */
  onError?(head: CallHead, method: CalledMethod, error: unknown, step: 'before' | 'handler'): void
}

export interface CallResult {
  readonly request: unknown
  readonly response: unknown
  /** The size of the encoded request, and of the encoded response. */
  readonly requestBytes: number
  readonly bytes: number
}
