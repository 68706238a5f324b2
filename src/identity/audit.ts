import { createWriteStream } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import type { LineSink } from '../base/log.ts'
import type { PeerIdentity } from './caller.ts'

/** One decision about a peer: let in or refused at its connection, or a call that changed something. */
export interface AuditEntry {
  readonly listener: string
  /** RPC, or `connect`. */
  readonly method: string
  readonly peerAddress: string
  readonly peer: PeerIdentity
  readonly decision: 'allow' | 'refuse'
  /** Stable code of a refusal. */
  readonly reason?: string
}

export type AuditLog = (entry: AuditEntry) => void

/** Writes JSON lines. Without a file nothing is written. */
export function createAuditLog(file: string | undefined, clock: Clock): AuditLog {
  if (file === undefined) return () => {}
  const sink: LineSink = createWriteStream(file, { flags: 'a', mode: 0o600 })
  return (entry) => sink.write(`${JSON.stringify(toLine(entry, clock.now()))}\n`)
}

function toLine(
  { listener, method, peerAddress, peer, decision, reason }: AuditEntry,
  now: number,
): Record<string, string> {
  const known: Partial<Record<'identity' | 'organization' | 'serial' | 'fingerprint', string>> =
    peer.kind === 'anonymous' ? {} : peer
  return {
    time: new Date(now).toISOString(),
    listener,
    method,
    identity: known.identity ?? '',
    organization: known.organization ?? '',
    serial: known.serial ?? '',
    fingerprint: known.fingerprint ?? '',
    peer: peerAddress,
    decision,
    reason: reason ?? (peer.kind === 'refused' ? peer.reason : ''),
  }
}
