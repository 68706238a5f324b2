import { UsageError } from '../base/errors.ts'
import type { LogFormat } from '../base/log.ts'
import { type OptionRow, type OptionValues, parseOptions, wholeNumber } from '../base/options.ts'
import { inMemory } from '../db/database.ts'
import { readCertificates, readServerTls, type ServerTlsFiles } from '../identity/tls-files.ts'
import { formatAddress, parseAddress } from '../rpc/address.ts'
import { type ClientCertificates, readClients } from './config-clients.ts'
import { readSuperexecs, type SuperexecConfig } from './config-superexec.ts'

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
  readonly isolation: 'subprocess' | 'process'
  /** How long ServerApps wait for the next start of this SuperLink; 0: they end with it. */
  readonly keepAppsMinutes: number
  readonly database: { readonly path: string; readonly storageDirectory: string | undefined }
  readonly supernodeAuth: boolean
  /** SuperNodes may join without a certificate or the signature of a key, as over Flower's REST transport. */
  readonly unprovenNodes: boolean
  /** Virtual nodes instead of SuperNodes: there is no Fleet API. */
  readonly simulation: boolean
  readonly dependencyInstallation: boolean
  readonly python: string | undefined
  readonly log: {
    readonly format: LogFormat
    readonly file: string | undefined
    readonly rotationHours: number
    readonly backups: number
  }
  readonly auditFile: string | undefined
  /** Where the address of the Control API is written. */
  readonly addressFile: string | undefined
  /** Ends when nobody has needed it for so long. */
  readonly idleMs: number | undefined
  /** What the operator should know, to be logged at start. */
  readonly warnings: readonly string[]
}

const memoryName = ':flwr-in-memory:'

export const rows: readonly OptionRow[] = [
  { flags: '--insecure', help: 'serve without TLS' },
  { flags: '--ssl-certfile <path>', help: "PEM file with the server's certificate chain" },
  { flags: '--ssl-keyfile <path>', help: "PEM file with the server's private key" },
  {
    flags: '--ssl-ca-certfile <path>',
    help: "PEM file with the CA of the server's certificate, and of client certificates unless --ssl-client-ca-certfile names another",
  },
  { flags: '--ssl-staple-ocsp', help: 'staple: send the OCSP response for the server certificate in each handshake' },
  { flags: '--ssl-require-client-auth', help: 'require client certificates, signed by the client CA' },
  { flags: '--ssl-client-ca-certfile <path>', help: 'PEM file with the CAs of client certificates' },
  {
    flags: '--ssl-client-auth <mode>',
    help: 'whether to request client certificates; require is the same as --ssl-require-client-auth',
    choices: ['none', 'request', 'require'],
  },
  {
    flags: '--ssl-client-crl <path>',
    help: 'revocation list of the client CA (PEM or DER), a folder of lists, or comma-separated URLs to download them from',
  },
  {
    flags: '--ssl-client-ocsp <mode>',
    help: 'check client certificates with OCSP; if no responder answers, accept (lax) or reject (strict) them; default off',
    choices: ['off', 'lax', 'strict'],
  },
  { flags: '--ssl-client-ocsp-url <url>', help: 'OCSP responder to use instead of those named in the certificates' },
  { flags: '--ssl-client-policy <path>', help: 'TOML file with the policy: which identities may do what' },
  {
    flags: '--fleet-api-address <address>',
    help: 'address of the Fleet API; defaults to 0.0.0.0:9092, and to 0.0.0.0:9095 with --fleet-api-type rest',
  },
  {
    flags: '--fleet-api-type <type>',
    help: 'rest: also accept SuperNodes without a key or certificate, like those of Flower 1.29 with --rest; gRPC and REST are always served',
    choices: ['grpc-rere', 'grpc-adapter', 'rest'],
    default: 'grpc-rere',
  },
  { flags: '--control-api-address <address>', help: 'address of the Control API', default: '0.0.0.0:9093' },
  { flags: '--host <host>', help: 'host of the address that serves all APIs', default: '127.0.0.1' },
  { flags: '--port <port>', help: 'port of the address that serves all APIs', default: '8000' },
  { flags: '--health-server-address <address>', help: 'address of a gRPC and HTTP health server without TLS' },
  { flags: '--simulation', help: 'run apps on virtual nodes of this machine instead of SuperNodes' },
  {
    flags: '--isolation <mode>',
    help: 'subprocess: start a SuperExec for the apps; process: wait for SuperExecs that you start',
    default: 'subprocess',
    choices: ['subprocess', 'process'],
  },
  {
    flags: '--keep-apps <minutes>',
    help: 'time for which ServerApps wait for a restart of this SuperLink, with --database and --isolation subprocess; 0 ends them with it',
    default: '30',
  },
  {
    flags: '--database <path>',
    help: 'SQLite file for the state; by default the state is lost at the end',
    default: memoryName,
  },
  { flags: '--storage-dir <path>', help: 'folder for large objects; by default beside the database' },
  {
    flags: '--enable-supernode-auth',
    help: 'accept only SuperNodes whose key was registered with flwr supernode register',
  },
  {
    flags: '--superexec-auth-secret-file <path>',
    help: 'file with the secret that SuperExecs must have, with --isolation process',
  },
  {
    flags: '--allow-runtime-dependency-installation',
    help: 'install the dependencies of Python apps with uv when they start',
  },
  { flags: '--python <path>', help: 'Python interpreter in whose environment Python apps run' },
  { flags: '--disable-runtime-dependency-installation', help: 'the default', hidden: true },
  { flags: '--log-file <path>', help: 'also write the log to this file' },
  { flags: '--log-rotation-interval-hours <hours>', help: 'start a new log file after this time', default: '24' },
  { flags: '--log-rotation-backup-count <count>', help: 'number of old log files to keep', default: '7' },
  { flags: '--log-format <format>', help: 'format of the log', default: 'text', choices: ['text', 'json'] },
  {
    flags: '--audit-log <path>',
    help: 'file for the audit log, one JSON object per line: connections, rejections and changes',
  },
  {
    flags: '--address-file <path>',
    help: 'write the address of the Control API and a secret to this file, and accept only clients that know the secret',
  },
  { flags: '--end-when-idle <minutes>', help: 'end after this time without an active run and without a command' },
  { flags: '--fleet-api-num-workers <count>', help: '', hidden: true },
  {
    flags: '--serverappio-api-address <address>',
    help: 'address, without TLS, for SuperExecs and apps of Flower 1.29; defaults to 0.0.0.0:9091 with --isolation process and either --insecure or --superexec-auth-secret-file',
  },
  { flags: '--simulationio-api-address <address>', help: '', hidden: true },
  ...['--appio-ssl-certfile', '--appio-ssl-keyfile', '--appio-ssl-ca-certfile'].map((flag) => ({
    flags: `${flag} <path>`,
    help: '',
    refused: `is gone: ${flag.replace('appio-', '')} serves apps too.`,
  })),
  { flags: '--exec-api-address <address>', help: '', refused: 'was renamed: use --control-api-address.' },
  {
    flags: '--auth-list-public-keys <path>',
    help: '',
    refused: 'was removed: register keys with flwr supernode register.',
  },
  { flags: '--executor <name>', help: '', refused: 'was removed.' },
  { flags: '--executor-dir <path>', help: '', refused: 'was removed.' },
  { flags: '--executor-config <text>', help: '', refused: 'was removed.' },
]

/** `undefined` when help or version was printed. Throws a UsageError for the first thing that is wrong. */
export function parseSuperlinkConfig(argv: readonly string[]): SuperlinkConfig | undefined {
  const values = parseOptions('flower-superlink', 'The server of a federation.', rows, argv)
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
  const database = text('database') as string
  const memory = database === memoryName || database === inMemory || database.trim() === ''
  if (memory)
    warnings.push(
      'The state is kept in memory and lost when the SuperLink stops: give a file with --database to keep it.',
    )
  return {
    tls,
    staplesOcsp: readStapling(values, tls),
    clients,
    ...addresses,
    isolation,
    keepAppsMinutes: readKeepApps(values, { isolation, simulation, memory }),
    database: {
      path: memory ? inMemory : database.replace(/^sqlite:\/\/\//, ''),
      storageDirectory: text('storageDir'),
    },
    supernodeAuth,
    unprovenNodes,
    simulation,
    ...readSuperexecs(values, addresses.address, warnings),
    dependencyInstallation: values.allowRuntimeDependencyInstallation === true,
    python: text('python'),
    log: {
      format: text('logFormat') as LogFormat,
      file: text('logFile'),
      rotationHours: wholeNumber(text('logRotationIntervalHours'), '--log-rotation-interval-hours', {
        min: 1,
      }) as number,
      backups: wholeNumber(text('logRotationBackupCount'), '--log-rotation-backup-count', { min: 1 }) as number,
    },
    auditFile: text('auditLog'),
    addressFile: text('addressFile'),
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
  warnings.push(...readServerTls({ ...tls, now: Date.now() }).warnings)
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
