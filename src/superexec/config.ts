import { readFileSync } from 'node:fs'
import type { AppProgram } from '../app-api/task-api.ts'
import { UsageError } from '../base/errors.ts'
import { type LogSettings, logRows, readLogSettings } from '../base/log-options.ts'
import { type OptionRow, type OptionValues, parseOptions, wholeNumber } from '../base/options.ts'
import { type TraceTarget, traceRows } from '../base/trace-export.ts'
import { readSecretFile } from '../identity/secret-file.ts'
import type { ChannelTls } from '../rpc/dial.ts'
import { readTrust } from '../rpc/trust-arguments.ts'

/** Everything that `flower-superexec` can be told. */
export interface SuperexecConfig {
  readonly serverAddress: string
  /** Which apps a server of Flower 1.29 has; others say it with each task. */
  readonly program: AppProgram | undefined
  readonly tls: ChannelTls
  /** What apps are told about trust: the same as we were. */
  readonly trustArguments: readonly string[]
  readonly parentPid: number | undefined
  /** How long ServerApps under way wait for their server to come back when the parent is gone; 0: they end with it. */
  readonly keepAppsMs: number
  readonly secret: Uint8Array | undefined
  readonly healthAddress: string | undefined
  readonly dependencyInstallation: boolean
  /** The interpreter whose environment runs Python apps; by default the first on PATH. */
  readonly python: string | undefined
  /** Python ClientApps of one run may share the libraries that they import. */
  readonly keepImports: boolean
  /** The language of apps for which the server does not tell it, as Flower's servers never do. */
  readonly apps: 'python' | 'typescript'
  readonly log: LogSettings
  readonly traceTarget: TraceTarget | undefined
}

/** What matters for the apps that are launched. */
export type LauncherConfig = Pick<
  SuperexecConfig,
  'serverAddress' | 'trustArguments' | 'apps' | 'python' | 'keepImports' | 'dependencyInstallation'
>

export const rows: readonly OptionRow[] = [
  { flags: '--runtime-api-address <address>', help: 'address of the Runtime API of a SuperLink or SuperNode' },
  {
    flags: '--appio-api-address <address>',
    help: 'older name of --runtime-api-address; with a server of Flower 1.29 its ServerAppIo or ClientAppIo API',
  },
  { flags: '--insecure', help: 'connect without TLS' },
  { flags: '--root-certificates <path>', help: 'PEM file with the CA of the server' },
  { flags: '--parent-pid <pid>', help: 'end when this process ends' },
  {
    flags: '--keep-apps <minutes>',
    help: 'how long ServerApps wait for their server then',
    default: '0',
    hidden: true,
  },
  { flags: '--superexec-auth-secret-file <path>', help: 'file with the secret that the server expects' },
  { flags: '--superexec-auth-secret-stdin', help: 'read that secret from standard input', hidden: true },
  { flags: '--health-server-address <address>', help: 'address of a gRPC and HTTP health server without TLS' },
  {
    flags: '--allow-runtime-dependency-installation',
    help: 'install the dependencies of Python apps with uv when they start',
  },
  { flags: '--python <path>', help: 'Python interpreter in whose environment Python apps run' },
  {
    flags: '--keep-imports',
    help: 'keep the libraries that the first Python ClientApp of a run imported, for the next ones',
  },
  {
    flags: '--plugin-type <type>',
    help: 'kind of apps that a server of Flower 1.29 has; detected by default',
    choices: ['serverapp', 'clientapp', 'simulation'],
  },
  {
    flags: '--apps <language>',
    help: 'language of the apps at a server of Flower, which does not tell it; defaults to typescript, and to python if such a server starts this program',
    choices: ['python', 'typescript'],
  },
  ...traceRows,
  ...logRows,
  { flags: '--executor <name>', help: '', hidden: true, choices: ['subprocess'] },
  {
    flags: '--executor-config <text>',
    help: '',
    refused: 'belongs to executors that Trellis does not have: leave it out.',
  },
]

export async function parseSuperexecConfig(argv: readonly string[]): Promise<SuperexecConfig | undefined> {
  const values = parseOptions('flower-superexec', 'Launches the apps of a SuperLink or SuperNode.', rows, argv)
  if (!values) return undefined
  const text = (name: string): string | undefined => values[name] as string | undefined
  const serverAddress = text('runtimeApiAddress') ?? text('appioApiAddress')
  if (serverAddress === undefined)
    throw new UsageError('flower-superexec: --runtime-api-address is missing.', { exitStatus: 2 })
  return {
    serverAddress,
    program: programOf(text('pluginType')),
    ...(await readTrust(values.insecure === true, text('rootCertificates'))),
    parentPid: wholeNumber(text('parentPid'), '--parent-pid', { min: 1 }),
    keepAppsMs: (wholeNumber(text('keepApps'), '--keep-apps', { min: 0 }) as number) * 60_000,
    secret: readSecret(text('superexecAuthSecretFile'), values.superexecAuthSecretStdin === true),
    healthAddress: text('healthServerAddress'),
    dependencyInstallation: values.allowRuntimeDependencyInstallation === true,
    python: text('python'),
    keepImports: values.keepImports === true,
    apps: readApps(values),
    log: readLogSettings(values),
    traceTarget: await readTraces(values),
  }
}

/** Servers of Flower start their SuperExec with a parent alone, ours also with a secret. */
function readApps({ apps, parentPid, superexecAuthSecretStdin }: OptionValues): SuperexecConfig['apps'] {
  if (apps !== undefined) return apps as SuperexecConfig['apps']
  return parentPid !== undefined && superexecAuthSecretStdin !== true ? 'python' : 'typescript'
}

/** The code that reads certificates is loaded only if it is needed. */
async function readTraces(values: OptionValues): Promise<TraceTarget | undefined> {
  if (values.otlpEndpoint === undefined && values.otlpCaCertfile === undefined) return undefined
  const { readTraceTarget } = await import('../identity/trace-options.ts')
  return readTraceTarget(values)
}

/** `simulation` is Flower's old word for the apps of a SuperLink. */
function programOf(pluginType: string | undefined): AppProgram | undefined {
  if (pluginType === undefined) return undefined
  return pluginType === 'clientapp' ? 'flwr-clientapp' : 'flwr-serverapp'
}

/** A SuperLink or SuperNode hands its secret to its own child over a pipe; others read a file. */
function readSecret(path: string | undefined, fromStandardInput: boolean): Uint8Array | undefined {
  if (!fromStandardInput)
    return path === undefined ? undefined : readSecretFile({ flag: '--superexec-auth-secret-file', path }, 401)
  const secret = readFileSync(0)
  if (secret.length === 0)
    throw new UsageError('--superexec-auth-secret-stdin: standard input is empty: give the secret there.')
  return secret
}
