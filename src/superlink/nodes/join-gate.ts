import type { Clock } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { CallHead } from '../../rpc/call.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'
import type { CalledMethod } from '../../rpc/service.ts'

const joinMethods: readonly string[] = [Fleet.method.registerNode.localName, Fleet.method.activateNode.localName]
/** How long a SuperNode takes to join, before any has. */
const firstGuessMs = 200
/** The weight of the last SuperNode in the mean of how long they take. */
const newestShare = 0.05
/** Clients wait as long as they are told, and up to half as long again: this much on average. */
const meanStretch = 1.25
const retryAfterMs = { min: 1000, max: 60_000 }

/**
 * Bounds how many SuperNodes join at the same time. Without it, calls of a crowd wait in the server until their clients give
 * up and call again, which makes the crowd larger. A SuperNode that is turned away is told how long to wait: until all that
 * were turned away before it have had their turn, at the present pace.
 */
export class JoinGate {
  readonly #clock: Pick<Clock, 'now'>
  /** Since when each call is under way. */
  readonly #joining = new Map<CallHead, number>()
  #meanMs = firstGuessMs
  /** The turn of the SuperNode that was turned away last. */
  #lastTurnAt = 0

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  get interceptor(): Interceptor {
    return {
      // Only now: a slow body holds no place.
      onRequest: (head, method) => this.#enter(head, method),
      onResponse: (head, method) => this.#leave(head, method),
      onError: (head, method) => this.#leave(head, method),
    }
  }

  #enter(head: CallHead, method: CalledMethod): void {
    if (!isJoin(method)) return
    if (this.#joining.size < limits.joinsAtOnceMax) {
      this.#joining.set(head, this.#clock.now())
      return
    }
    throw new DomainError('too-many-calls', 'Many SuperNodes are joining at the same time. Try again.', {
      retryAfterMs: this.#nextTurnMs(),
    })
  }

  #leave(head: CallHead, method: CalledMethod): void {
    const since = this.#joining.get(head)
    if (!isJoin(method) || since === undefined) return
    this.#joining.delete(head)
    const tookMs = Math.max(0, this.#clock.now() - since)
    this.#meanMs += (tookMs - this.#meanMs) * newestShare
  }

  /** How long until the next free turn, which is taken with that. */
  #nextTurnMs(): number {
    const now = this.#clock.now()
    const latest = now + retryAfterMs.max * meanStretch
    // A clock that was set back must not leave turns in a far future.
    const after = Math.min(Math.max(now, this.#lastTurnAt), latest)
    this.#lastTurnAt = Math.min(after + this.#meanMs / limits.joinsAtOnceMax, latest)
    return Math.min(retryAfterMs.max, Math.max(retryAfterMs.min, (this.#lastTurnAt - now) / meanStretch))
  }
}

function isJoin({ service, name }: CalledMethod): boolean {
  return service === Fleet.typeName && joinMethods.includes(name)
}
