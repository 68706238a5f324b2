import { appendFileSync, closeSync, openSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { LogThrottle } from '../base/log-throttle.ts'
import { printableJson } from '../base/printable.ts'
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

/**
 * Writes JSON lines, each before the call it is about is answered. Without a file nothing is written. A file that cannot be
 * opened is a UsageError; one that cannot be written later (a full disk) is an error in the log, and tried again.
 */
export function createAuditLog(
  file: string | undefined,
  { clock, log }: { clock: Pick<Clock, 'now'>; log: Pick<Logger, 'error'> },
): { write: AuditLog /** Goes on in a new file where the old one was moved away. */; reopen(): void } & Disposable {
  if (file === undefined) return { write: () => {}, reopen() {}, [Symbol.dispose]() {} }
  let descriptor = open(file)
  const throttle = new LogThrottle(clock)
  return {
    write(entry) {
      try {
        appendFileSync(descriptor, `${printableJson(JSON.stringify(toLine(entry, clock.now())))}\n`)
      } catch (error) {
        const fields = throttle.admit('audit')
        if (fields) log.error(`The audit log ${file} cannot be written: ${errorText(error)}`, fields)
      }
    },
    reopen() {
      try {
        const next = open(file)
        closeSync(descriptor)
        descriptor = next
      } catch (error) {
        log.error(`The audit log goes on in the old file: ${errorText(error)}`)
      }
    },
    [Symbol.dispose]: () => closeSync(descriptor),
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'a', 0o600)
  } catch (cause) {
    throw new UsageError(
      `--audit-log: ${file} cannot be written (${(cause as NodeJS.ErrnoException).code}): give a file in a folder that is there and may be written to.`,
      { cause },
    )
  }
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
