import type { Clock } from '../../base/clock.ts'
import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { CallHead } from '../../rpc/call.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'
import type { CalledMethod } from '../../rpc/service.ts'

const joinMethods: readonly string[] = [Fleet.method.registerNode.localName, Fleet.method.activateNode.localName]
/** How far back the gate looks to estimate how long a crowd takes. */
const windowMs = 5000
const retryAfterMs = { min: 1000, max: 60_000 }

/**
 * Bounds how many SuperNodes join at the same time. Without it, calls of a crowd wait in the server until their clients give
 * up and call again, which makes the crowd larger. A SuperNode that is turned away is told how long to wait: as long as all
 * that were turned away lately take at the present rate.
 */
export class JoinGate {
  readonly #clock: Pick<Clock, 'now'>
  readonly #joining = new Set<CallHead['signal']>()
  #window = { since: 0, joined: 0, turnedAway: 0 }

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  get interceptor(): Interceptor {
    return {
      // Only now: a slow body holds no place.
      onRequest: (call, method) => this.#enter(call, method),
      onResponse: (call, method) => this.#leave(call, method),
      onError: (head, method) => this.#leave(head, method),
    }
  }

  #enter({ signal }: CallHead, method: CalledMethod): void {
    if (!isJoin(method)) return
    const window = this.#currentWindow()
    if (this.#joining.size < limits.joinsAtOnceMax) {
      this.#joining.add(signal)
      return
    }
    window.turnedAway += 1
    throw new DomainError('too-many-calls', 'Many SuperNodes are joining at the same time. Try again.', {
      retryAfterMs: this.#retryAfterMs(),
    })
  }

  #leave({ signal }: CallHead, method: CalledMethod): void {
    if (isJoin(method) && this.#joining.delete(signal)) this.#currentWindow().joined += 1
  }

  #retryAfterMs(): number {
    const { joined, turnedAway, since } = this.#window
    const passedMs = Math.max(1, this.#clock.now() - since)
    const expectedMs = (turnedAway * passedMs) / Math.max(1, joined)
    return Math.min(retryAfterMs.max, Math.max(retryAfterMs.min, expectedMs))
  }

  #currentWindow(): { since: number; joined: number; turnedAway: number } {
    const now = this.#clock.now()
    const { since } = this.#window
    if (now - since > windowMs || now < since) this.#window = { since: now, joined: 0, turnedAway: 0 }
    return this.#window
  }
}

function isJoin({ service, name }: CalledMethod): boolean {
  return service === Fleet.typeName && joinMethods.includes(name)
}
