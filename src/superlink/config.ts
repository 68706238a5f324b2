import { UsageError } from '../base/errors.ts'
import { type LogSettings, readLogSettings } from '../base/log-options.ts'
import { type OptionValues, parseOptions, readDrainMs, wholeNumber } from '../base/options.ts'
import type { TraceTarget } from '../base/trace-export.ts'
import { readAtStart, readCertificates, readServerTls, type ServerTlsFiles } from '../identity/tls-files.ts'
import { readTraceTarget } from '../identity/trace-options.ts'
import { formatAddress, parseAddress } from '../rpc/address.ts'
import { type ClientCertificates, readClients } from './config-clients.ts'
import { type DashboardConfig, readDashboard } from './config-dashboard.ts'
import { type DatabaseConfig, readDatabase } from './config-database.ts'
import { readStorage, type StorageConfig } from './config-storage.ts'
import { readSuperexecs, type SuperexecConfig } from './config-superexec.ts'
import { readWebhook } from './config-webhook.ts'
import type { WebhookConfig } from './events/webhook.ts'
import { rows } from './options.ts'
import { type QuotaLimits, readQuotas } from './quotas/config-quotas.ts'
import type { Retention } from './runs/retention.ts'

/** Everything that `flower-superlink` can be told. */
export interface SuperlinkConfig extends SuperexecConfig {
  /** Files that were good when the configuration was read; absent: plain. */
  readonly tls: ServerTlsFiles | undefined
  readonly staplesOcsp: boolean
  readonly clients: ClientCertificates
  readonly fleetAddress: string
  readonly controlAddress: string
  readonly address: string
  readonly healthAddress: string | undefined
  /** Absent: the page is not served. */
  readonly dashboard: DashboardConfig | undefined
  readonly isolation: 'subprocess' | 'process'
  /** How long calls under way may complete after SIGTERM. */
  readonly drainMs: number
  /** How long ServerApps wait for the next start of this SuperLink; 0: they end with it. */
  readonly keepAppsMinutes: number
  readonly database: DatabaseConfig
  /** A bucket for large objects, instead of a folder. */
  readonly storage: StorageConfig | undefined
  readonly keepRuns: Retention
  readonly quotas: QuotaLimits
  readonly supernodeAuth: boolean
  /** SuperNodes may join without a certificate or the signature of a key, as over Flower's REST transport. */
  readonly unprovenNodes: boolean
  /** Virtual nodes instead of SuperNodes: there is no Fleet API. */
  readonly simulation: boolean
  readonly dependencyInstallation: boolean
  readonly python: string | undefined
  readonly log: LogSettings
  readonly auditFile: string | undefined
  readonly traceTarget: TraceTarget | undefined
  /** Where events are sent. */
  readonly webhook: WebhookConfig | undefined
  /** Where the address of the Control API is written. */
  readonly addressFile: string | undefined
  /** The file that standard output and error go to, and that is bounded. */
  readonly outputFile: string | undefined
  /** Ends when no program has used it for this long. */
  readonly idleMs: number | undefined
  /** What the operator should know, to be logged at start. */
  readonly warnings: readonly string[]
}

const summary =
  'The server of a federation. More commands: flower-superlink check, flower-superlink backup DIR, flower-superlink doctor, flower-superlink migrate, flower-superlink move-objects.'

/** `undefined` when help or version was printed. Throws a UsageError for the first thing that is wrong. */
export function parseSuperlinkConfig(argv: readonly string[]): SuperlinkConfig | undefined {
  const values = parseOptions('flower-superlink', summary, rows, argv)
  if (!values) return undefined
  const warnings: string[] = []
  const text = (name: string): string | undefined => values[name] as string | undefined
  const tls = readTls(values, warnings)
  const clients = readClients(values, tls !== undefined, warnings)
  const isolation = text('isolation') as 'subprocess' | 'process'
  const simulation = values.simulation === true
  const supernodeAuth = values.enableSupernodeAuth === true
  if (supernodeAuth && !tls) {
    throw new UsageError(
      '--enable-supernode-auth needs TLS: give --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile instead of --insecure.',
      { flowerCode: 104 },
    )
  }
  const unprovenNodes = readFleetType(values, clients, warnings)
  if (supernodeAuth && clients.mode === 'require') {
    warnings.push(
      '--enable-supernode-auth has no effect: with client certificates required, a SuperNode is known by its certificate and not by a registered key.',
    )
  }
  if (supernodeAuth && simulation)
    warnings.push('--enable-supernode-auth has no effect with --simulation: there are no SuperNodes.')
  if (!supernodeAuth && !simulation && clients.mode === 'none') {
    warnings.push('SuperNode authentication is disabled. The SuperLink will accept connections from any SuperNode.')
  }
  const port = wholeNumber(text('port'), '--port', { min: 0, max: 65535 }) as number
  const host = text('host') as string
  const addresses = {
    fleetAddress: text('fleetApiAddress') ?? (text('fleetApiType') === 'rest' ? '0.0.0.0:9095' : '0.0.0.0:9092'),
    controlAddress: text('controlApiAddress') as string,
    address: formatAddress({ host, port }),
    healthAddress: text('healthServerAddress'),
  }
  parseAddress(addresses.controlAddress, '--control-api-address')
  parseAddress(addresses.fleetAddress, '--fleet-api-address')
  parseAddress(addresses.address, '--host and --port')
  if (addresses.healthAddress) parseAddress(addresses.healthAddress, '--health-server-address')
  const database = readDatabase(values)
  const memory = database.engine === 'memory'
  if (memory)
    warnings.push(
      'The state is kept in memory and lost when the SuperLink stops: give a file with --database to keep it.',
    )
  return {
    tls,
    staplesOcsp: readStapling(values, tls),
    clients,
    ...addresses,
    dashboard: readDashboard(values, { clients, hasTls: tls !== undefined }),
    isolation,
    drainMs: readDrainMs(values),
    keepAppsMinutes: readKeepApps(values, { isolation, simulation, memory }),
    database,
    storage: readStorage(values, { memory, simulation }),
    keepRuns: readKeepRuns(text('keepRuns') as string),
    quotas: readQuotas(values),
    supernodeAuth,
    unprovenNodes,
    simulation,
    ...readSuperexecs(values, addresses.address, warnings),
    dependencyInstallation: values.allowRuntimeDependencyInstallation === true,
    python: text('python'),
    log: readLogSettings(values),
    auditFile: text('auditLog'),
    traceTarget: readTraceTarget(values),
    webhook: readWebhook(values),
    addressFile: text('addressFile'),
    outputFile: text('outputFile'),
    idleMs: readIdle(text('endWhenIdle')),
    warnings,
  }
}

/** Returns whether SuperNodes may join that prove nothing. */
function readFleetType(
  { fleetApiType, enableSupernodeAuth }: OptionValues,
  clients: ClientCertificates,
  warnings: string[],
): boolean {
  if (fleetApiType === 'grpc-adapter') {
    throw new UsageError(
      '--fleet-api-type grpc-adapter is not supported: leave it out, and --grpc-adapter of the SuperNodes too.',
      { flowerCode: 104 },
    )
  }
  if (fleetApiType !== 'rest' || clients.mode === 'require') return false
  if (enableSupernodeAuth === true) {
    throw new UsageError(
      '--enable-supernode-auth and --fleet-api-type rest contradict each other: the REST transport of Flower proves no keys. Require certificates (--ssl-require-client-auth), or leave one of them out.',
      { flowerCode: 104 },
    )
  }
  warnings.push(
    'With --fleet-api-type rest, SuperNodes without a certificate or key prove nothing: any program that learns the id of such a SuperNode can speak for it.',
  )
  return true
}

function readTls(values: OptionValues, warnings: string[]): SuperlinkConfig['tls'] {
  const files = { certfile: values.sslCertfile, keyfile: values.sslKeyfile, caFile: values.sslCaCertfile }
  const given = Object.values(files).filter((value) => value !== undefined).length
  if (values.insecure === true) {
    warnings.push(
      `Option --insecure was set: the APIs are served without TLS.${given > 0 ? ' The certificates that were given are not used.' : ''}`,
    )
    return undefined
  }
  if (given === 0) {
    throw new UsageError(
      'Certificates are required: give --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile, or --insecure to serve without TLS.',
    )
  }
  if (given < 3) throw new UsageError('Give all three of --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile.')
  const tls: ServerTlsFiles = {
    certfile: { flag: '--ssl-certfile', path: files.certfile as string },
    keyfile: { flag: '--ssl-keyfile', path: files.keyfile as string },
    caFile: { flag: '--ssl-ca-certfile', path: files.caFile as string },
  }
  warnings.push(...readAtStart(tls, () => readServerTls({ ...tls, now: Date.now() })).warnings)
  return tls
}

function readStapling({ sslStapleOcsp }: OptionValues, tls: SuperlinkConfig['tls']): boolean {
  if (sslStapleOcsp !== true) return false
  if (!tls)
    throw new UsageError('--ssl-staple-ocsp needs TLS: give --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile.')
  const [{ ocspUrls }] = readCertificates(tls.certfile)
  if (ocspUrls.length === 0)
    throw new UsageError(
      `--ssl-staple-ocsp: the certificate in ${tls.certfile.path} names no OCSP responder: have one issued that does.`,
    )
  return true
}

/** Only a SuperLink with a database knows the tasks of its apps again, and a simulation is simply repeated. */
function readKeepApps(
  { keepApps }: OptionValues,
  { isolation, simulation, memory }: { isolation: string; simulation: boolean; memory: boolean },
): number {
  const minutes = wholeNumber(keepApps, '--keep-apps', { min: 0, max: 10_000 }) as number
  return isolation === 'subprocess' && !simulation && !memory ? minutes : 0
}

function readIdle(minutes: string | undefined): number | undefined {
  const count = wholeNumber(minutes, '--end-when-idle', { min: 1, max: 10_000 })
  return count === undefined ? undefined : count * 60_000
}

function readKeepRuns(text: string): Retention {
  if (text === 'all') return undefined
  const [, count, unit] = /^(\d{1,9})(d?)$/.exec(text) ?? []
  if (count === undefined || (unit === 'd' && Number(count) === 0))
    throw new UsageError(
      `--keep-runs must be a number of runs, such as 500, a number of days, such as 30d, or all, not '${text}'.`,
      { exitStatus: 2 },
    )
  return unit === 'd' ? { days: Number(count) } : { runs: Number(count) }
}
