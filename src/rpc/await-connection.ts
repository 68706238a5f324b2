import { type Address, formatAddress } from './address.ts'
import { callCancelled, RpcError } from './rpc-error.ts'

/**
 * Waits for the connection of a call, no longer than the signal and the time limit of the call allow. Other calls share the
 * connection: its opening goes on.
 */
export async function awaitConnection<T>(
  opening: Promise<T>,
  address: Address,
  { signal, timeoutMs }: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined },
): Promise<T> {
  const ended = Promise.withResolvers<never>()
  const onAbort = (): void => ended.reject(callCancelled())
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer =
    timeoutMs === undefined ? undefined : setTimeout(() => ended.reject(noConnection(address, timeoutMs)), timeoutMs)
  if (signal?.aborted) onAbort()
  try {
    return await Promise.race([opening, ended.promise])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Not `deadline-exceeded`: callers leave a connection then, and would begin anew with one that is about to stand. */
function noConnection(address: Address, timeoutMs: number): RpcError {
  return new RpcError(
    'unavailable',
    `No connection to ${formatAddress(address)} within ${timeoutMs / 1000} s: it may be too busy, else check the address and the network.`,
    { kind: 'unreachable', failure: 'connection-timeout' },
  )
}
