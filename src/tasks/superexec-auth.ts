import type { Clock } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import type { Database } from '../db/database.ts'
import { isSuperexecSignature } from '../identity/superexec-signature.ts'
import type { Call } from '../rpc/call.ts'

/** Checks the SuperExec signature of a call and spends its nonce. Throws `token-invalid`. */
export function createSuperexecCheck(options: {
  db: Database
  clock: Clock
  secret: Uint8Array
}): (call: Call) => Promise<void> {
  const { db, clock, secret } = options
  return async (call) => {
    const namespace = `superexec:${call.method}`
    const single = (name: string): string => {
      const [value, ...more] = call.header(name)
      if (!value || more.length > 0) throw new DomainError('token-invalid')
      return value
    }
    const headers = {
      timestamp: single('flwr-superexec-ts'),
      nonce: single('flwr-superexec-nonce'),
      bodySha256: single('flwr-superexec-body-sha256'),
      signature: single('flwr-superexec-signature'),
    }
    const now = clock.now()
    if (!isSuperexecSignature(secret, call.method, call.requestBytes, headers, now))
      throw new DomainError('token-invalid')
    const fresh = await db.transaction(async (tx) => {
      await tx.deleteFrom('nonce').where('expires_at', '<', now).execute()
      const result = await tx
        .insertInto('nonce')
        .values({ namespace, nonce: headers.nonce, expires_at: (Number(headers.timestamp) + 305) * 1000 })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow()
      return result.numInsertedOrUpdatedRows === 1n
    })
    if (!fresh) throw new DomainError('token-invalid')
  }
}
