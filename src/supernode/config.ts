import { UsageError } from '../base/errors.ts'
import { type LogSettings, logRows, readLogSettings } from '../base/log-options.ts'
import type { NodeTags } from '../base/node-tags.ts'
import { drainRow, type OptionRow, type OptionValues, parseOptions, readDrainMs, wholeNumber } from '../base/options.ts'
import { type TraceTarget, traceRows } from '../base/trace-export.ts'
import type { UserConfig } from '../base/user-config.ts'
import type { AppLanguage } from '../fab/app-components.ts'
import { parseConfigPairs } from '../fab/config-pairs.ts'
import { generateNodeKey, type NodeKey } from '../identity/node-key.ts'
import { readSecretFile } from '../identity/secret-file.ts'
import {
  type ClientTlsFiles,
  checkPairGiven,
  readAtStart,
  readClientTls,
  readServerTls,
  type ServerTlsFiles,
} from '../identity/tls-files.ts'
import { readTraceTarget } from '../identity/trace-options.ts'
import { readTrustedEntities, type TrustedEntities } from '../identity/trusted-entities.ts'
import { formatAddress, isLoopback, parseAddress } from '../rpc/address.ts'
import { readKey } from './key-file.ts'
import { readTags } from './tag-option.ts'

/** Everything that `flower-supernode` can be told. */
export interface SupernodeConfig {
  readonly superlinkAddress: string
  /** Files that were good when the configuration was read. */
  readonly tls: ClientTlsFiles | 'insecure'
  readonly transport: 'auto' | 'grpc' | 'http' | 'rest'
  /** Whether a client certificate speaks for this node. */
  readonly hasCertificate: boolean
  readonly key: NodeKey
  /** The key was made for this start only: the node registers itself and leaves for good at the end. */
  readonly keyIsAutomatic: boolean
  readonly nodeConfig: UserConfig
  /** What this node says of itself to apps. */
  readonly tags: NodeTags
  /** Only apps that one of them has signed run here; absent: all apps. */
  readonly trustedEntities: TrustedEntities | undefined
  readonly isolation: 'subprocess' | 'process'
  /** Address of our own Runtime API. */
  readonly runtimeAddress: string
  /** TLS of our own Runtime API, and the CA that apps know it by; absent: plain. */
  readonly runtimeTls: ServerTlsFiles | undefined
  readonly superexecSecret: Uint8Array | undefined
  readonly maxRetries: number | undefined
  readonly maxWaitMs: number | undefined
  readonly healthAddress: string | undefined
  readonly traceTarget: TraceTarget | undefined
  /** How long instructions under way may complete after SIGTERM. */
  readonly drainMs: number
  readonly dependencyInstallation: boolean
  readonly python: string | undefined
  /** Which ClientApp runs where an app has one in both languages. */
  readonly apps: AppLanguage
  readonly log: LogSettings
  readonly warnings: readonly string[]
}

const defaultPort = '9094'

export const rows: readonly OptionRow[] = [
  { flags: '--superlink <address>', help: 'address of the Fleet API of the SuperLink', default: '127.0.0.1:9092' },
  { flags: '--root-certificates <path>', help: "PEM file with the CA of the SuperLink's certificate" },
  { flags: '--insecure', help: 'connect without TLS' },
  { flags: '--ssl-client-certfile <path>', help: 'PEM file with the certificate (chain) of this node' },
  { flags: '--ssl-client-keyfile <path>', help: 'PEM file with the private key of that certificate' },
  {
    flags: '--auth-supernode-private-key <path>',
    help: 'OpenSSH private key (EC) of this node, whose public key is registered',
  },
  {
    flags: '--node-config <pairs>',
    help: 'configuration for the ClientApps: key=value pairs with TOML values, or a .toml file',
  },
  {
    flags: '--tag <key=value>',
    help: 'tag by which ServerApps can choose this node, e.g. region=eu; can be repeated',
    repeats: true,
  },
  {
    flags: '--transport <wire>',
    help: 'protocol to use; auto detects that of the SuperLink',
    choices: ['auto', 'grpc', 'http'],
    default: 'auto',
  },
  {
    flags: '--rest',
    help: 'use the REST transport of Flower 1.29; the address of the SuperLink must begin with http:// or https://',
  },
  { flags: '--max-retries <count>', help: 'retries of a call before giving up; no limit by default' },
  { flags: '--max-wait-time <seconds>', help: 'time for the retries of a call before giving up; no limit by default' },
  {
    flags: '--isolation <mode>',
    help: 'subprocess: start a SuperExec for the apps; process: wait for SuperExecs that you start',
    default: 'subprocess',
    choices: ['subprocess', 'process'],
  },
  { flags: '--host <host>', help: 'host of the Runtime API for apps', default: '127.0.0.1' },
  {
    flags: '--port <port>',
    help: `port of the Runtime API for apps; by default a free one, or ${defaultPort} with --isolation process`,
  },
  {
    flags: '--clientappio-api-address <address>',
    help: 'host and port of the Runtime API; older form of --host and --port',
  },
  { flags: '--ssl-certfile <path>', help: 'PEM file with the certificate chain of the Runtime API for apps' },
  { flags: '--ssl-keyfile <path>', help: 'PEM file with the private key of that certificate' },
  { flags: '--ssl-ca-certfile <path>', help: 'PEM file with the CA with which apps verify that certificate' },
  ...['certfile', 'keyfile', 'ca-certfile'].map((file) => ({
    flags: `--appio-ssl-${file} <path>`,
    help: `old name for --ssl-${file}`,
    hidden: true,
  })),
  {
    flags: '--trusted-entities <path>',
    help: 'YAML file that maps key ids to Ed25519 public keys; run only apps signed by one of them',
  },
  {
    flags: '--superexec-auth-secret-file <path>',
    help: 'file with the secret that SuperExecs must have, with --isolation process',
  },
  { flags: '--health-server-address <address>', help: 'address of a gRPC and HTTP health server without TLS' },
  ...traceRows,
  drainRow,
  {
    flags: '--allow-runtime-dependency-installation',
    help: 'install the dependencies of Python apps with uv when they start',
  },
  { flags: '--python <path>', help: 'Python interpreter in whose environment Python apps run' },
  {
    flags: '--apps <language>',
    help: 'language of the ClientApp to run if an app has one in both languages',
    default: 'typescript',
    choices: ['python', 'typescript'],
  },
  ...logRows,
  { flags: '--auth-supernode-public-key <path>', help: '', hidden: true },
  { flags: '--grpc-rere', help: '', hidden: true },
  { flags: '--grpc-adapter', help: '', refused: 'is not supported: leave it out.' },
]

/** `undefined` when help or version was printed. Throws a UsageError for the first thing that is wrong. */
export function parseSupernodeConfig(argv: readonly string[]): SupernodeConfig | undefined {
  const values = parseOptions('flower-supernode', 'The agent at the data.', rows, argv)
  if (!values) return undefined
  const text = (name: string): string | undefined => values[name] as string | undefined
  const warnings: string[] = []
  const { superlinkAddress, transport } = readSuperlink(values)
  const tls = readTls(values, warnings)
  const keyFile = text('authSupernodePrivateKey')
  if (keyFile !== undefined && tls.tls === 'insecure') {
    throw new UsageError('--auth-supernode-private-key needs TLS: give --root-certificates instead of --insecure.', {
      flowerCode: 303,
    })
  }
  if (text('authSupernodePublicKey') !== undefined)
    warnings.push('--auth-supernode-public-key is ignored: the private key holds it.')
  const isolation = text('isolation') as 'subprocess' | 'process'
  const healthAddress = text('healthServerAddress')
  if (healthAddress) parseAddress(healthAddress, '--health-server-address')
  const runtimeAddress = readRuntimeAddress(values, isolation)
  const superexecSecret = readSecret(values, isolation, warnings)
  if (isolation === 'process' && !superexecSecret) checkOpenAddress(runtimeAddress, values.insecure === true, warnings)
  const maxWaitSeconds = wholeNumber(text('maxWaitTime'), '--max-wait-time', { min: 0 })
  return {
    superlinkAddress,
    ...tls,
    transport,
    key: keyFile === undefined ? generateNodeKey() : readKey(keyFile),
    keyIsAutomatic: keyFile === undefined,
    trustedEntities: readTrusted(text('trustedEntities')),
    nodeConfig: parseConfigPairs(text('nodeConfig') ?? '', '--node-config'),
    tags: readTags((values.tag ?? []) as readonly string[]),
    isolation,
    runtimeAddress,
    runtimeTls: readRuntimeTls(values, warnings),
    superexecSecret,
    maxRetries: wholeNumber(text('maxRetries'), '--max-retries', { min: 0 }),
    maxWaitMs: maxWaitSeconds === undefined ? undefined : maxWaitSeconds * 1000,
    healthAddress,
    traceTarget: readTraceTarget(values),
    drainMs: readDrainMs(values),
    dependencyInstallation: values.allowRuntimeDependencyInstallation === true,
    python: text('python'),
    apps: text('apps') as AppLanguage,
    log: readLogSettings(values),
    warnings,
  }
}

/** With `--rest` the address is a URL, as in Flower. */
function readSuperlink(values: OptionValues): Pick<SupernodeConfig, 'superlinkAddress' | 'transport'> {
  const { superlink, insecure, rest } = values
  const transport = values.transport as SupernodeConfig['transport']
  const given = superlink as string
  if (rest !== true) {
    parseAddress(given, '--superlink')
    return { superlinkAddress: given, transport }
  }
  if (transport !== 'auto') throw new UsageError('Conflicting options: give --rest or --transport, not both.')
  const [, scheme, address] = /^(https?):\/\/(.*?)\/?$/.exec(given) ?? []
  if (scheme === undefined || address === undefined) {
    throw new UsageError(
      `With --rest, --superlink must be a URL, e.g. http://127.0.0.1:9095 or https://HOST:PORT, not '${given}'.`,
      { flowerCode: 300 },
    )
  }
  parseAddress(address, '--superlink')
  if (scheme === 'http' && insecure !== true)
    throw new UsageError('--superlink http://… is without TLS: give https://…, or --insecure as well.')
  if (scheme === 'https' && insecure === true)
    throw new UsageError('Conflicting options: give --insecure or --superlink https://…, not both.')
  return { superlinkAddress: address, transport: 'rest' }
}

function readTls(values: OptionValues, warnings: string[]): Pick<SupernodeConfig, 'tls' | 'hasCertificate'> {
  const file = (flag: string, value: unknown) => (typeof value === 'string' ? { flag, path: value } : undefined)
  const roots = file('--root-certificates', values.rootCertificates)
  const certfile = file('--ssl-client-certfile', values.sslClientCertfile)
  const keyfile = file('--ssl-client-keyfile', values.sslClientKeyfile)
  checkPairGiven(certfile, keyfile, { certfile: '--ssl-client-certfile', keyfile: '--ssl-client-keyfile' })
  if (values.insecure === true) {
    if (roots) throw new UsageError('Conflicting options: give --insecure or --root-certificates, not both.')
    if (certfile)
      throw new UsageError('--ssl-client-certfile needs TLS: give --root-certificates instead of --insecure.')
    warnings.push('Option --insecure was set: the connection to the SuperLink is not encrypted.')
    return { tls: 'insecure', hasCertificate: false }
  }
  const tls: ClientTlsFiles = { roots, certfile, keyfile }
  warnings.push(...readAtStart(tls, () => readClientTls({ ...tls, now: Date.now() })).warnings)
  return { tls, hasCertificate: certfile !== undefined }
}

/** All three files or none, as for a SuperLink. */
function readRuntimeTls(values: OptionValues, warnings: string[]): SupernodeConfig['runtimeTls'] {
  const file = (name: 'Certfile' | 'Keyfile' | 'CaCertfile'): string | undefined =>
    (values[`ssl${name}`] ?? values[`appioSsl${name}`]) as string | undefined
  const [certfile, keyfile, caFile] = [file('Certfile'), file('Keyfile'), file('CaCertfile')]
  if (certfile === undefined && keyfile === undefined && caFile === undefined) return undefined
  if (certfile === undefined || keyfile === undefined || caFile === undefined)
    throw new UsageError(
      'Give all three of --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile, or none. They are for the Runtime API; the certificate that the SuperLink sees is --ssl-client-certfile.',
    )
  const tls: ServerTlsFiles = {
    certfile: { flag: '--ssl-certfile', path: certfile },
    keyfile: { flag: '--ssl-keyfile', path: keyfile },
    caFile: { flag: '--ssl-ca-certfile', path: caFile },
  }
  warnings.push(...readAtStart(tls, () => readServerTls({ ...tls, now: Date.now() })).warnings)
  return tls
}

function readRuntimeAddress(values: OptionValues, isolation: 'subprocess' | 'process'): string {
  const old = values.clientappioApiAddress as string | undefined
  if (old !== undefined) {
    parseAddress(old, '--clientappio-api-address')
    return old
  }
  const host = values.host as string
  const fallback = isolation === 'process' ? defaultPort : '0'
  const port = (values.port as string | undefined) ?? fallback
  const address = formatAddress({ host, port: wholeNumber(port, '--port', { min: 0, max: 65535 }) as number })
  parseAddress(address, '--host and --port')
  return address
}

function readTrusted(path: string | undefined): TrustedEntities | undefined {
  return path === undefined ? undefined : readTrustedEntities({ flag: '--trusted-entities', path })
}

function readSecret(values: OptionValues, isolation: string, warnings: string[]): Uint8Array | undefined {
  const path = values.superexecAuthSecretFile as string | undefined
  if (path === undefined) return undefined
  if (isolation === 'process') return readSecretFile({ flag: '--superexec-auth-secret-file', path }, 401)
  warnings.push(
    "--superexec-auth-secret-file is ignored with --isolation subprocess: only the SuperNode's own SuperExec can take tasks.",
  )
  return undefined
}

/** Without a secret, tasks are handed out at loopback addresses only, unless `--insecure` was given. */
function checkOpenAddress(address: string, insecure: boolean, warnings: string[]): void {
  if (isLoopback(parseAddress(address, '--host and --port').host)) return
  const danger = `any program that reaches ${address}, the Runtime API of this SuperNode,`
  const remedy = 'give --superexec-auth-secret-file to this SuperNode and to its SuperExec'
  if (insecure) warnings.push(`With --isolation process, ${danger} can take its tasks: ${remedy}.`)
  else
    throw new UsageError(
      `With --isolation process, ${danger} could take its tasks: ${remedy}, or give an address of this machine, e.g. 127.0.0.1:${defaultPort}.`,
    )
}
