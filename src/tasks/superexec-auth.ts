import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { fitting } from '../db/column-limits.ts'
import type { Database } from '../db/database.ts'
import { isSuperexecSignature } from '../identity/superexec-signature.ts'
import { isLoopback } from '../rpc/address.ts'
import type { Call } from '../rpc/call.ts'

/** Checks that the caller is a SuperExec which may take tasks. Throws `token-invalid`. */
export type SuperexecCheck = (call: Call) => Promise<void>

export interface SuperexecRules {
  readonly isolation: 'subprocess' | 'process'
  /** Secret of the operator; without effect with `subprocess`. */
  readonly secret: Uint8Array | undefined
  /** `--insecure` was given: SuperExecs need no secret at any address, as with Flower. */
  readonly insecure: boolean
}

/**
 * Decides which SuperExecs may take the tasks of this server. With `subprocess` that is the server's own child alone, which
 * knows a secret that is created here, at each start. With `process` it is every SuperExec that knows the operator's
 * secret. Without a secret, tasks are handed out at loopback addresses only, unless `insecure` is set.
 */
export class SuperexecGate {
  /** For the server's own child; absent with `process`. */
  readonly ownSecret: Uint8Array | undefined
  readonly #rules: SuperexecRules
  readonly #check: SuperexecCheck | undefined

  constructor(rules: SuperexecRules, { db, clock }: { db: Database; clock: Clock }) {
    this.#rules = rules
    this.ownSecret = rules.isolation === 'subprocess' ? randomBytes(32) : undefined
    if (this.ownSecret) this.#check = checkSignature(this.ownSecret, clock, new RecentNonces(clock))
    else if (rules.secret) this.#check = checkSignature(rules.secret, clock, storedNonces(db, clock))
  }

  /** The check for a listener that is bound to this host. */
  checkAt(host: string): SuperexecCheck {
    if (this.#check) return this.#check
    return this.#rules.insecure || isLoopback(host) ? acceptAll : refuseAll
  }
}

const acceptAll: SuperexecCheck = async () => {}

const refuseAll: SuperexecCheck = async () => {
  throw new DomainError('token-invalid')
}

/** Remembers nonces until their signature has expired. */
interface Nonces {
  /** Returns false if the nonce was used before. */
  spend(namespace: string, nonce: string, expiresAt: number): Promise<boolean>
}

function checkSignature(secret: Uint8Array, clock: Clock, nonces: Nonces): SuperexecCheck {
  return async (call) => {
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
    if (!isSuperexecSignature(secret, call.method, call.requestBytes, headers, clock.now()))
      throw new DomainError('token-invalid')
    const expiresAt = (Number(headers.timestamp) + signatureSeconds) * 1000
    if (!(await nonces.spend(`superexec:${call.method}`, headers.nonce, expiresAt)))
      throw new DomainError('token-invalid')
  }
}

/** How long a signature is accepted. */
const signatureSeconds = 305

/** Nonces of a secret that outlives this process. */
function storedNonces(db: Database, clock: Clock): Nonces {
  return {
    spend: (namespace, nonce, expiresAt) =>
      db.transaction(async (tx) => {
        await tx.deleteFrom('nonce').where('expires_at', '<', clock.now()).execute()
        const result = await tx
          .insertInto('nonce')
          .values(fitting('nonce', { namespace, nonce, expires_at: expiresAt }))
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirstOrThrow()
        return result.numInsertedOrUpdatedRows === 1n
      }),
  }
}

/** Nonces of a secret that ends with this process: in memory, so that taking a task costs no write. */
class RecentNonces implements Nonces {
  readonly #expiries = new Map<string, number>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async spend(namespace: string, nonce: string, expiresAt: number): Promise<boolean> {
    const now = this.#clock.now()
    // Entries are in the order of their arrival, which is that of their expiry but for seconds.
    for (const [key, expiry] of this.#expiries) {
      if (expiry >= now) break
      this.#expiries.delete(key)
    }
    const key = `${namespace} ${nonce}`
    if (this.#expiries.has(key)) return false
    this.#expiries.set(key, expiresAt)
    // Only the server's own child can fill this up, so forgetting the oldest opens nothing.
    if (this.#expiries.size > limits.superexecNoncesMax)
      this.#expiries.delete(this.#expiries.keys().next().value as string)
    return true
  }
}
