import { Bell } from '../../base/bell.ts'
import type { Clock } from '../../base/clock.ts'
import type { AuditEntry } from '../../identity/audit.ts'
import { isRefusalReason, type RefusalReason } from '../../identity/caller.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import { hostOf } from '../../rpc/address.ts'
import type { EventData } from './event-catalog.ts'
import type { EventLog } from './event-log.ts'

interface Group {
  readonly reason: RefusalReason
  readonly sentence: string
  readonly identity: string
  readonly organization: string
  readonly address: string
  count: number
}

/** Further refusals of the same peer for the same reason are counted for so long. */
const quietMs = 60_000
/** Of groups that wait or were recorded within the last minute. One more is counted with the others of its reason. */
const groupsMax = 256
const serialsMax = 10_000
/** Refusals that come together make one event. */
const gatherMs = 1000

/**
 * Turns refusals into events. A hostile peer can be refused a thousand times a second: refusals are gathered by reason and
 * peer, in bounded memory, and recorded at most once a minute.
 */
export class RefusalEvents {
  readonly #clock: Clock
  readonly #groups = new Map<string, Group>()
  /** When a group was recorded last. */
  readonly #recordedAt = new Map<string, number>()
  readonly #revoked: EventData<'certificate.revoked'>[] = []
  readonly #revokedSerials = new Set<string>()
  readonly #news = new Bell<'news'>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Sees what is written to the audit log. */
  note({ decision, peer, peerAddress, reason = peer.kind === 'refused' ? peer.reason : '' }: AuditEntry): void {
    if (decision !== 'refuse' || !isRefusalReason(reason)) return
    const { identity = '', organization = '', serial = '' } = peer.kind === 'anonymous' ? {} : peer
    const address = hostOf(peerAddress)
    const sentence = peer.kind === 'refused' ? peer.sentence : refusalSentence(reason, identity || address)
    const found = { reason, sentence, identity, organization, address }
    const key = JSON.stringify([reason, organization, identity || address])
    const group = this.#groups.get(key)
    if (group) group.count += 1
    else if (this.#hasPlaceFor(key)) this.#groups.set(key, { ...found, count: 1 })
    else this.#countWithOthers(reason)
    if (reason === 'revoked-by-crl' || reason === 'revoked-by-ocsp') this.#noteRevoked(found, serial)
    this.#news.ring('news')
  }

  /** Background job. */
  async run(events: Pick<EventLog, 'recordAlone'>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      using subscription = this.#news.subscribe('news')
      await this.record(events)
      // Groups that are quiet are looked at again without news.
      await subscription.wait(this.#groups.size > 0 ? quietMs : 3_600_000, signal)
      await this.#clock.sleep(gatherMs, signal).catch(() => {})
    }
    // Nothing reads the events of a SuperLink that cannot store its last ones; the audit log has them.
    await this.record(events).catch(() => {})
  }

  /** Records what was gathered, but for groups that were recorded within the last minute. */
  async record(events: Pick<EventLog, 'recordAlone'>): Promise<void> {
    // What could not be stored stays for the next time.
    for (let found = this.#revoked[0]; found; found = this.#revoked[0]) {
      await events.recordAlone('certificate.revoked', found)
      this.#revoked.shift()
    }
    const now = this.#clock.now()
    for (const [key, at] of this.#recordedAt) if (Math.abs(now - at) >= quietMs) this.#recordedAt.delete(key)
    for (const [key, group] of this.#groups) {
      if (this.#recordedAt.has(key)) continue
      const { identity, organization, ...facts } = group
      await events.recordAlone('peer.refused', { ...facts, ...namesOf(identity, organization) })
      this.#recordedAt.set(key, now)
      // Further refusals may have been counted while this one was stored.
      group.count -= facts.count
      if (group.count === 0) this.#groups.delete(key)
    }
  }

  /** A peer chooses its own names: a new name gets no event of its own while the last minute is full of others. */
  #hasPlaceFor(key: string): boolean {
    return this.#recordedAt.has(key) || this.#groups.size + this.#recordedAt.size < groupsMax
  }

  /** Counts peers beyond the bound by reason. */
  #countWithOthers(reason: RefusalReason): void {
    const key = JSON.stringify([reason])
    const group = this.#groups.get(key)
    if (group) group.count += 1
    else {
      const sentence = `Many different peers were refused: ${refusalSentence(reason)}`
      this.#groups.set(key, { reason, sentence, identity: '', organization: '', address: '', count: 1 })
    }
  }

  #noteRevoked({ reason, identity, organization, address }: Omit<Group, 'count'>, serial: string): void {
    if (this.#revokedSerials.has(serial) || this.#revoked.length >= groupsMax) return
    if (this.#revokedSerials.size >= serialsMax) this.#revokedSerials.clear()
    this.#revokedSerials.add(serial)
    this.#revoked.push({
      sentence: `The certificate ${serial} of ${identity || address} is revoked and was refused.`,
      ...{ reason, serial, address },
      ...namesOf(identity, organization),
    })
  }
}

function namesOf(identity: string, organization: string): { identity?: string; organization?: string } {
  return { ...(identity === '' ? {} : { identity }), ...(organization === '' ? {} : { organization }) }
}
