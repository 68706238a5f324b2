import type { DescMethodUnary } from '@bufbuild/protobuf'
import { errorCatalog } from '../../src/base/error-catalog.ts'
import { DomainError } from '../../src/base/errors.ts'
import { type Channel, RpcError } from '../../src/rpc/channel.ts'
import type { InMemoryClient } from './in-memory-client.ts'

/** A channel to services in memory. */
export function channelTo(client: Pick<InMemoryClient, 'call'>): Channel {
  return {
    async call(
      method: DescMethodUnary,
      request: never,
      {
        headers = {},
        waitMs,
        signal,
      }: { headers?: Record<string, string>; waitMs?: number; signal?: AbortSignal } = {},
    ) {
      signal?.throwIfAborted()
      try {
        const callOptions = { headers, waitMs: waitMs ?? 0, ...(signal ? { signal } : {}) }
        return { message: await client.call(method, request, callOptions), waited: waitMs !== undefined }
      } catch (error) {
        if (!(error instanceof DomainError)) throw error
        throw new RpcError(errorCatalog[error.code].status, error.publicSentence, { kind: 'peer' })
      }
    },
  } as unknown as Channel
}
