import type { Clock } from '../../base/clock.ts'
import type { AuditEntry } from '../../identity/audit.ts'
import { isRefusalReason, type RefusalReason } from '../../identity/caller.ts'
import type { Certificate } from '../../identity/certificate.ts'
import type { Crl } from '../../identity/revocation/crl.ts'

const hourMs = 3_600_000
const hoursKept = 24

export interface Refusals {
  readonly reason: RefusalReason
  readonly count: number
  readonly lastAt: number
  /** Of the last peer; empty if it had no name. */
  readonly identity: string
  readonly address: string
}

interface Kept {
  /** By hour since 1970; at most as many as are kept. */
  readonly hours: Map<number, number>
  last: Omit<Refusals, 'reason' | 'count'>
}

/** What the security officer sees of a SuperLink: its certificates and lists, and the peers that were refused within the last day. */
export class SecurityView {
  readonly #clock: Pick<Clock, 'now'>
  /** One entry for each reason, of which there are few. */
  readonly #refusals = new Map<RefusalReason, Kept>()
  /** What is in use now. */
  certificates: () => { server: readonly Certificate[]; cas: readonly Certificate[]; crls: readonly Crl[] } = () => ({
    server: [],
    cas: [],
    crls: [],
  })

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  /** Sees what is written to the audit log, whether there is one or not. */
  note({ decision, peer, peerAddress, reason = peer.kind === 'refused' ? peer.reason : '' }: AuditEntry): void {
    if (decision !== 'refuse' || !isRefusalReason(reason)) return
    const now = this.#clock.now()
    const kept = this.#refusals.get(reason) ?? { hours: new Map(), last: { lastAt: 0, identity: '', address: '' } }
    const hour = Math.floor(now / hourMs)
    kept.hours.set(hour, (kept.hours.get(hour) ?? 0) + 1)
    for (const old of kept.hours.keys()) if (old <= hour - hoursKept) kept.hours.delete(old)
    const identity = peer.kind === 'anonymous' ? '' : (peer.identity ?? '')
    kept.last = { lastAt: now, identity, address: peerAddress }
    this.#refusals.set(reason, kept)
  }

  /** The most frequent first. */
  listRefusals(): Refusals[] {
    const hour = Math.floor(this.#clock.now() / hourMs)
    return [...this.#refusals]
      .map(([reason, { hours, last }]) => {
        const recent = [...hours].filter(([at]) => at > hour - hoursKept)
        return { reason, count: recent.reduce((sum, [, count]) => sum + count, 0), ...last }
      })
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count)
  }
}
