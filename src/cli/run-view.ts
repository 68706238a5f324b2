import { oneLine } from '../base/printable.ts'
import { configOf } from '../dashboard/views.ts'
import type { Run } from '../gen/flwr/proto/run_pb.ts'
import { float, type Json } from './output.ts'
import { instantText, secondsBetween } from './units.ts'

/** A run as the commands show it. */

export function statusText(run: Run): string {
  const { status = '', subStatus = '' } = run.status ?? {}
  return oneLine(subStatus === '' ? status : `${status}:${subStatus}`)
}

/** The colour of a run's status; `undefined` for a run that waits. */
export function runStyle(run: Run): 'green' | 'red' | 'yellow' | 'cyan' | undefined {
  const { status, subStatus, details } = run.status ?? {}
  if (status === 'running') return 'cyan'
  if (status !== 'finished') return undefined
  if (subStatus === 'failed') return 'red'
  // A run that completed with details has achieved nothing.
  return subStatus === 'completed' && !details ? 'green' : 'yellow'
}

/** Seconds that the run has been running. */
export function elapsedSeconds(run: Run, now: string): number {
  return secondsBetween(run.runningAt, run.finishedAt || now)
}

export function changedAt(run: Run): string {
  return run.finishedAt || run.runningAt || run.startingAt || run.pendingAt
}

/** What the run waits for, in one sentence and a remedy; `undefined` if it waits for nothing. */
export function waitText(run: Run): string | undefined {
  if (!run.waitingFor) return undefined
  const sentence = `waits for ${run.waitingFor}, since ${instantText(run.waitingSince)}.`
  return oneLine(run.waitingRemedy ? `${sentence} ${run.waitingRemedy}` : sentence)
}

export function runToJson(run: Run, now: string): Json {
  const elapsed = elapsedSeconds(run, now)
  const inbound = Number(run.bytesRecv)
  const outbound = Number(run.bytesSent)
  return {
    'run-id': run.runId.toString(),
    federation: run.federation,
    'federation-id': run.federation,
    'fab-id': run.fabId,
    'fab-name': run.fabId.split('/').at(-1) ?? '',
    'fab-version': run.fabVersion,
    'fab-hash': run.fabHash,
    config: configOf(run),
    status: statusText(run),
    'status-details': run.status?.details || 'N/A',
    ...(run.waitingFor
      ? {
          waiting: {
            for: run.waitingFor,
            since: instantText(run.waitingSince),
            remedy: run.waitingRemedy || 'N/A',
          },
        }
      : {}),
    elapsed: float(elapsed),
    'pending-at': instantText(run.pendingAt),
    'starting-at': instantText(run.startingAt),
    'running-at': instantText(run.runningAt),
    'finished-at': instantText(run.finishedAt),
    'network-traffic': { 'inbound-bytes': inbound, 'outbound-bytes': outbound, 'total-bytes': inbound + outbound },
    'compute-time': {
      'serverapp-seconds': float(elapsed),
      'clientapp-seconds': float(run.clientappRuntime),
      'total-seconds': float(elapsed + run.clientappRuntime),
    },
  }
}
