import { oneLine } from '../base/printable.ts'
import type { ShowSecurityResponse } from '../gen/flwr/proto/control_pb.ts'
import type { NodeInfo } from '../gen/flwr/proto/node_pb.ts'
import type { Run } from '../gen/flwr/proto/run_pb.ts'
import type { TaskEvent } from '../gen/flwr/proto/task_pb.ts'
import type { NodeView, RunEventView, RunView, SecurityState } from '../web/model.ts'

/** What the SuperLink says, as the page of the dashboard shows it. Texts become one line each. */

export function nodeView(node: NodeInfo): NodeView {
  const { status } = node
  const since =
    status === 'online'
      ? node.lastActivatedAt
      : status === 'offline'
        ? node.lastDeactivatedAt
        : status === 'unregistered'
          ? node.unregisteredAt
          : node.registeredAt
  const ends = node.certificateNotAfter
  return {
    id: node.nodeId.toString(),
    name: oneLine(node.name ?? ''),
    status: oneLine(status),
    admission: oneLine(node.admission ?? 'open'),
    identity: oneLine(node.identity ?? ''),
    organization: oneLine(node.organization ?? ''),
    auth: oneLine(node.authMethod ?? ''),
    since: oneLine(since ?? ''),
    certificateEnds: ends === undefined ? '' : instantOf(ends * 1000),
    renewalFails: node.renewalFailing === true,
    release: oneLine(node.release ?? ''),
    lastContact: node.lastSeenAt === undefined ? '' : instantOf(node.lastSeenAt * 1000),
    lastReplySeconds: node.lastReplySeconds ?? 0,
  }
}

export function runView(run: Run): RunView {
  return {
    id: run.runId.toString(),
    app: oneLine(appText(run)),
    status: oneLine(run.status?.status ?? ''),
    subStatus: oneLine(run.status?.subStatus ?? ''),
    details: oneLine(run.status?.details ?? ''),
    owner: run.flwrAid.startsWith('<') ? '' : oneLine(run.accountName || run.flwrAid),
    organization: oneLine(run.organization ?? ''),
    federation: oneLine(run.federation),
    fabHash: oneLine(run.fabHash),
    pendingAt: oneLine(run.pendingAt),
    runningAt: oneLine(run.runningAt),
    finishedAt: oneLine(run.finishedAt),
    bytesSent: Number(run.bytesSent),
    bytesReceived: Number(run.bytesRecv),
    clientSeconds: run.clientappRuntime,
    waitingFor: oneLine(run.waitingFor ?? ''),
    waitingSince: oneLine(run.waitingSince ?? ''),
    remedy: oneLine(run.waitingRemedy ?? ''),
    config: configOf(run),
  }
}

/** Returns the configuration of a run, and of each value that was set for it the one that the app has. */
export function configOf({
  appConfig,
  overrideConfig,
}: Pick<Run, 'appConfig' | 'overrideConfig'>): Record<string, string> {
  const keys = [...new Set([...Object.keys(appConfig), ...Object.keys(overrideConfig)])].toSorted()
  return Object.fromEntries(
    keys.map((key) => {
      // An app may have a key such as `constructor`, which every object inherits.
      const [ofApp, ofRun] = [appConfig, overrideConfig].map((config) =>
        Object.hasOwn(config, key) ? oneLine(String(config[key]?.scalar.value)) : undefined,
      )
      const text =
        ofRun === undefined || ofRun === ofApp ? ofApp : ofApp === undefined ? ofRun : `${ofRun} (app: ${ofApp})`
      return [oneLine(key), text ?? '']
    }),
  )
}

export function securityView(security: ShowSecurityResponse): SecurityState {
  return {
    certificates: security.certificates.map(({ kind, subject, notAfter }) => ({
      kind: oneLine(kind),
      subject: oneLine(subject),
      ends: instantOf(notAfter * 1000),
    })),
    lists: security.revocationLists.map(({ issuer, nextUpdate }) => ({
      issuer: oneLine(issuer),
      due: instantOf(nextUpdate * 1000),
    })),
    refusals: security.refusals.map(({ reason, count, lastAt, sentence, identity, address }) => ({
      reason: oneLine(reason),
      count,
      lastAt: oneLine(lastAt),
      peer: oneLine([identity, address].filter((one) => one).join(' at ')),
      sentence: oneLine(sentence),
    })),
  }
}

export function eventView({ id, timestamp, event, data }: TaskEvent): RunEventView {
  return { id: id.toString(), at: timestamp, event, data }
}

/** A date that is none would throw. */
function instantOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString()
}

export function appText(run: Pick<Run, 'fabId' | 'fabVersion'>): string {
  return `@${run.fabId}==${run.fabVersion}`
}
