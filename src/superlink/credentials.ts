import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import type { Metrics } from '../base/metrics.ts'
import { createTemporaryDirectory } from '../base/temporary-directory.ts'
import { identityKey, type RefusedPeer } from '../identity/caller.ts'
import type { Certificate } from '../identity/certificate.ts'
import { type ClientTrust, pathsOfClientTrust, readClientTrust, readLiveClientTrust } from '../identity/client-trust.ts'
import { FileSet } from '../identity/file-set.ts'
import { onOperatorSignal } from '../identity/operator-signal.ts'
import { CrlDownload } from '../identity/revocation/crl-download.ts'
import { OcspChecks, type OcspOptions, type OcspPair } from '../identity/revocation/ocsp-checks.ts'
import { OcspStaple } from '../identity/revocation/staple.ts'
import { type ReadMaterial, readCertificates, readCertificatesPem, type ServerTlsFiles } from '../identity/tls-files.ts'
import { openServerTls, ownCertificates } from '../identity/tls-reload.ts'
import { casOf, isIssuer, readTrustBundle } from '../identity/trust.ts'
import type { Listener } from '../rpc/listener.ts'
import { tellCertificates, tellCrls } from '../rpc/tls-metrics.ts'
import type { SuperlinkConfig } from './config.ts'
import { besideState } from './config-database.ts'
import type { SuperlinkContext } from './context.ts'
import { cutOffNode } from './nodes/nodes.ts'

/** What the TLS of the SuperLink stands on, replaced while it runs. */
export interface Credentials {
  readonly server: FileSet<ReadMaterial> | undefined
  /** Where clients are told what a responder says of the server certificate. */
  readonly staple: OcspStaple | undefined
  readonly clients: FileSet<ClientTrust> | undefined
  /** Where OCSP responders are asked about clients. */
  readonly ocsp: OcspChecks | undefined
  /** Returns one sentence for each set that is not the one in its files. */
  readonly troubles: () => string[]
  /** Removes fetched lists that are not of its addresses. A standby leaves them to the SuperLink that serves. */
  readonly removeOtherLists: () => void
}

function troublesOf(...sets: readonly (Pick<FileSet<unknown>, 'troubles'> | undefined)[]): () => string[] {
  return () => sets.flatMap((set) => set?.troubles() ?? [])
}

export async function openCredentials(
  config: Pick<SuperlinkConfig, 'tls' | 'staplesOcsp' | 'clients' | 'database' | 'warnings'>,
  surroundings: Pick<SuperlinkContext, 'clock' | 'log'> & {
    readonly metrics: Metrics
    /** The result of `openListDirectory`, if it is to outlive these credentials. */
    readonly listDirectory?: string | undefined
  },
  stack: AsyncDisposableStack,
): Promise<Credentials> {
  const { clock, log, metrics } = surroundings
  const onReload = (files: string, result: string): void => metrics.reloads.inc({ files, result })
  const server =
    config.tls && stack.use(await openServerTls('server certificate', config.tls, { clock, log, onReload }))
  tellCertificates(metrics, 'own', () => ownCertificates(server), clock)
  const staple =
    config.staplesOcsp && server && config.tls ? stack.use(openStaple(server, config.tls, surroundings)) : undefined
  const { clients: choice } = config
  if (choice.mode === 'none')
    return {
      ...{ server, staple, clients: undefined, ocsp: undefined, troubles: troublesOf(server) },
      removeOtherLists: () => {},
    }
  const directory = surroundings.listDirectory ?? (await openListDirectory(config, stack))
  const download = await fetchLists(choice, directory, surroundings, stack)
  const files = download ? { ...choice.files, crl: download.file } : choice.files
  let inUse: FileSet<ClientTrust> | undefined
  const read = () =>
    inUse ? readLiveClientTrust(files, clock.now(), inUse.current()) : readClientTrust(files, clock.now())
  const paths = (value: ClientTrust): string[] => pathsOfClientTrust(files, value)
  const clients = stack.use(await FileSet.open({ clock, log, onReload, name: 'trust in clients', read, paths }))
  inUse = clients
  for (const warning of clients.warnings) if (!config.warnings.includes(warning)) log.warn(warning)
  tellCertificates(metrics, 'ca', () => clients.current().trust.anchors, clock)
  tellCrls(metrics, () => clients.current().crls, clock)
  const ocsp = openOcsp(choice.ocsp, clients, surroundings, stack)
  const removeOtherLists = (): void => download?.removeOthers()
  return { server, staple, clients, ocsp, troubles: troublesOf(server, clients), removeOtherLists }
}

/** The certificates and lists that the SuperLink works with now. */
export function certificatesInUse({ server, clients }: Pick<Credentials, 'server' | 'clients'>) {
  const trust = clients?.current()
  return { server: ownCertificates(server), cas: trust?.trust.anchors ?? [], crls: trust?.crls ?? [] }
}

function openStaple(
  server: FileSet<ReadMaterial>,
  { certfile, caFile }: ServerTlsFiles,
  surroundings: Pick<SuperlinkContext, 'clock' | 'log'>,
): OcspStaple {
  const pair = (): OcspPair | undefined => {
    const certificate = server.current().leaf
    const issuer = certificate && [certfile, caFile].flatMap(readCertificates).find((one) => isIssuer(one, certificate))
    return certificate && issuer && { certificate, issuer }
  }
  let known = pair()
  const subscribe = (onReplaced: () => void): Disposable =>
    server.subscribe(() => {
      known = pair()
      onReplaced()
    })
  return new OcspStaple({ ...surroundings, pair: () => known, subscribe })
}

/**
 * Returns the folder in which lists that are fetched are kept, for a start while their server is not there: beside the database,
 * or a temporary one. Returns `undefined` if none are fetched.
 */
export async function openListDirectory(
  { clients, database }: Pick<SuperlinkConfig, 'clients' | 'database'>,
  stack: AsyncDisposableStack,
): Promise<string | undefined> {
  if (clients.mode === 'none' || clients.crlUrls.length === 0) return undefined
  return besideState(database, 'crls') ?? stack.use(await createTemporaryDirectory('trellis-crl')).path
}

async function fetchLists(
  { files, crlUrls: urls }: Exclude<SuperlinkConfig['clients'], { mode: 'none' }>,
  directory: string | undefined,
  { clock, log }: Pick<SuperlinkContext, 'clock' | 'log'>,
  stack: AsyncDisposableStack,
): Promise<CrlDownload | undefined> {
  if (directory === undefined) return undefined
  const flag = '--ssl-client-crl'
  const cas = (): Certificate[] => casOf(readTrustBundle(files.ca))
  const rootsPem = (): string => readCertificatesPem(files.ca)
  return stack.use(await CrlDownload.open({ flag, urls, directory, cas, rootsPem, clock, log }))
}

function openOcsp(
  choice: Pick<OcspOptions, 'mode' | 'url'> | undefined,
  clients: FileSet<ClientTrust>,
  { clock, log, metrics }: Parameters<typeof openCredentials>[1],
  stack: AsyncDisposableStack,
): OcspChecks | undefined {
  if (!choice) return undefined
  const onAsked = (result: string): void => metrics.ocspQuestions.inc({ result })
  const lists = () => clients.current().revocation
  const ocsp = new OcspChecks({ ...choice, clock, log, lists, onAsked })
  stack.use(onOperatorSignal('SIGHUP', () => ocsp.askAgain()))
  return ocsp
}

/**
 * Background job: judges open connections again when trust or policy is replaced, when a certificate expires, and now and
 * then, for CAs expire too. The nodes of those that are cut off are offline from then on.
 */
export async function watchPeers(
  ctx: SuperlinkContext,
  clients: FileSet<ClientTrust>,
  listeners: readonly Listener[],
  signal: AbortSignal,
): Promise<void> {
  using _ = clients.subscribe(() => {
    judgeAgain(ctx, listeners).catch((error: unknown) =>
      ctx.log.error('Open connections could not be judged again', { error: errorText(error) }),
    )
  })
  for (let looks = 1; !signal.aborted; looks++) {
    await ctx.clock.sleep(lookMs, signal).catch(() => {})
    if (signal.aborted) return
    const isLate = looks % looksBetweenFull !== 0
    await judgeAgain(ctx, listeners, isLate ? expiredBy(ctx.clock) : undefined)
  }
}

/** Background job: asks OCSP responders again before their responses expire, and closes connections for which they no longer vouch. */
export async function watchResponders(
  ctx: SuperlinkContext,
  ocsp: OcspChecks,
  listeners: readonly Listener[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await ctx.clock.sleep(askAgainMs, signal).catch(() => {})
    if (!signal.aborted && (await ocsp.refresh())) await judgeAgain(ctx, listeners)
  }
}

const askAgainMs = 1000

/** The system's clock may jump, so the instant of the next expiry is no time to sleep until. */
const lookMs = 400
const looksBetweenFull = 150

function expiredBy(clock: Clock) {
  const now = clock.now()
  return ({ peer }: { peer: { kind: string; notAfter?: number } }): boolean =>
    peer.kind === 'certificate' && (peer.notAfter ?? 0) < now
}

async function judgeAgain(
  ctx: SuperlinkContext,
  listeners: readonly Listener[],
  isConcerned?: Parameters<Listener['judgeAgain']>[0],
): Promise<void> {
  const cut = (await Promise.all(listeners.map((listener) => listener.judgeAgain(isConcerned)))).flat()
  // An account may see fewer runs now: those that follow one look again.
  if (!isConcerned) ctx.bells.runs.ringAll()
  if (cut.length === 0) return
  // A peer that renewed in time has moved to another connection, and perhaps sent nothing over it yet.
  const open = listeners.flatMap((listener) => listener.connections())
  const heard = new Set(open.map(({ peer }) => (peer.kind === 'certificate' ? identityKey(peer) : undefined)))
  const keysOf = ({ identity = '', organization = '' }: RefusedPeer): string[] => [
    identityKey({ identity }),
    identityKey({ identity, identityOrganization: organization }),
  ]
  const lost = cut.filter(({ peer }) => peer.kind === 'refused' && !keysOf(peer).some((key) => heard.has(key)))
  for (const nodeId of new Set(lost.flatMap((connection) => ctx.liveNodes.orphansOf(connection)))) {
    await cutOffNode(ctx, nodeId)
    ctx.liveNodes.forget(nodeId)
  }
}
