import { limits } from '../base/limits.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Certificate } from '../identity/certificate.ts'
import type { FileSet } from '../identity/file-set.ts'
import type { Crl } from '../identity/revocation/crl.ts'
import type { Connection } from './call.ts'
import type { Listener, ListenerOptions } from './listener.ts'

/** What a listener counts: handshakes, and peers that were refused. */
export function countPeers(
  metrics: Metrics,
  { name: listener, onJudged }: Pick<ListenerOptions, 'name' | 'onJudged'>,
): Pick<ListenerOptions, 'onHandshake' | 'onJudged'> {
  return {
    onHandshake: (result) => metrics.handshakes.inc({ listener, grpc_tls_handshake_result: result }),
    onJudged: (connection) => {
      const { peer } = connection
      if (peer.kind === 'refused') metrics.refusals.inc({ listener, reason: peer.reason })
      onJudged?.(connection)
    },
  }
}

/** Lets read how many connections are open, and when the certificates of their peers expire. */
export function tellConnections(metrics: Metrics, name: string, listener: Listener, clock: { now(): number }): void {
  metrics.onRead(() => {
    const connections = listener.connections()
    for (const { peer } of connections) metrics.connections.inc({ listener: name, method: peer.kind })
    for (const [subject, notAfter] of soonestExpiries(connections))
      metrics.certificateExpiry.set({ certificate: 'peer', subject }, (notAfter - clock.now()) / 1000)
  })
}

/** Lets read when certificates of ours, or CAs, expire. */
export function tellCertificates(
  metrics: Metrics,
  certificate: 'own' | 'ca',
  current: () => readonly Pick<Certificate, 'subject' | 'notAfter'>[],
  clock: { now(): number },
): void {
  metrics.onRead(() => {
    for (const { subject, notAfter } of current())
      metrics.certificateExpiry.set({ certificate, subject: subject.text }, (notAfter - clock.now()) / 1000)
  })
}

/** Lets read when revocation lists are due to be replaced; of several of one name the newest counts. */
export function tellCrls(metrics: Metrics, current: () => readonly Crl[], clock: { now(): number }): void {
  metrics.onRead(() => {
    const due = new Map<string, number>()
    for (const { issuerText, nextUpdate } of current())
      due.set(issuerText, Math.max(nextUpdate, due.get(issuerText) ?? 0))
    for (const [issuer, at] of due) metrics.crlNextUpdate.set({ issuer }, (at - clock.now()) / 1000)
  })
}

/** Lets read whether sets of files are good. */
export function tellFiles(metrics: Metrics, sets: readonly (FileState | undefined)[]): void {
  metrics.onRead(() => {
    for (const set of sets) if (set) metrics.filesGood.set({ files: set.name }, set.problem ? 0 : 1)
  })
}

type FileState = Pick<FileSet<unknown>, 'name' | 'problem'>

/** By identity, of those with certificates; the ones that expire first where there are too many to tell of. */
function soonestExpiries(connections: readonly Connection[]): [identity: string, notAfter: number][] {
  const expiries = new Map<string, number>()
  for (const { peer } of connections) {
    if (peer.kind !== 'certificate') continue
    expiries.set(peer.identity, Math.max(peer.notAfter, expiries.get(peer.identity) ?? 0))
  }
  return [...expiries].sort(([, a], [, b]) => a - b).slice(0, limits.peersInMetricsMax)
}
