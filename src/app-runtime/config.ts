import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { AppGeneration, AppProgram } from '../app-api/task-api.ts'
import { UsageError } from '../base/errors.ts'
import { type OptionRow, type OptionValues, parseOptions, wholeNumber } from '../base/options.ts'
import type { ChannelTls } from '../rpc/dial.ts'
import { readTrust } from '../rpc/trust-arguments.ts'

/** What an app process is told by its launcher. */
export interface AppConfig {
  readonly generation: AppGeneration
  readonly serverAddress: string
  readonly tls: ChannelTls
  /** Token of the only task; absent if tokens arrive over the channel to the SuperExec. */
  readonly token: string | undefined
  /** There is no task for it yet: what apps import is loaded in the meantime. */
  readonly isReady: boolean
  readonly parentPid: number | undefined
  /** Where apps are installed (`FLWR_HOME`). */
  readonly home: string
}

export const rows: readonly OptionRow[] = [
  { flags: '--runtime-api-address <address>', help: 'address of the Runtime API of a SuperLink or SuperNode' },
  {
    flags: '--serverappio-api-address <address>',
    help: 'address of the ServerAppIo API, with a SuperLink of Flower 1.29',
  },
  {
    flags: '--clientappio-api-address <address>',
    help: 'address of the ClientAppIo API, with a SuperNode of Flower 1.29',
  },
  { flags: '--insecure', help: 'connect without TLS' },
  { flags: '--root-certificates <path>', help: 'PEM file with the CA of the server' },
  {
    flags: '--token <token>',
    help: 'token of the task; other users of this machine can see it, so prefer --token-file',
  },
  { flags: '--token-file <path>', help: 'file that holds the token of the task' },
  { flags: '--token-channel', help: 'take tokens from the SuperExec over descriptor 3', hidden: true },
  { flags: '--ready', help: 'load what apps import before there is a task', hidden: true },
  { flags: '--parent-pid <pid>', help: 'end when this process ends' },
  { flags: '--allow-runtime-dependency-installation', help: '', hidden: true },
  { flags: '--run-once', help: '', hidden: true },
]

export async function parseAppConfig(program: AppProgram, argv: readonly string[]): Promise<AppConfig | undefined> {
  const values = parseOptions(program, 'Runs an app for one task. A SuperExec starts it.', rows, argv)
  if (!values) return undefined
  const text = (name: string): string | undefined => values[name] as string | undefined
  const sources = [values.token, values.tokenFile, values.tokenChannel].filter((value) => value !== undefined)
  if (sources.length !== 1)
    throw new UsageError(`${program}: give exactly one of --token and --token-file.`, { exitStatus: 2 })
  return {
    ...readAddress(program, values),
    tls: (await readTrust(values.insecure === true, text('rootCertificates'))).tls,
    token: text('token') ?? readTokenFile(text('tokenFile')),
    isReady: values.ready === true,
    parentPid: wholeNumber(text('parentPid'), '--parent-pid', { min: 1 }),
    home: process.env.FLWR_HOME || join(homedir(), '.flwr'),
  }
}

/** Lets an app with OpenTelemetry continue the trace of its task, as if a shell had given it that trace. */
export function joinTrace(traceParent: string | undefined): void {
  if (traceParent !== undefined) process.env.TRACEPARENT = traceParent
}

/** Each program has one API of the older generation, whose flag Flower 1.29 gives it. */
function readAddress(program: AppProgram, values: OptionValues): Pick<AppConfig, 'generation' | 'serverAddress'> {
  const [ownApi, otherApi] =
    program === 'flwr-serverapp' ? ['serverappio', 'clientappio'] : ['clientappio', 'serverappio']
  if (values[`${otherApi}ApiAddress`] !== undefined)
    throw new UsageError(`${program}: --${otherApi}-api-address is for the other program.`, { exitStatus: 2 })
  const [runtime, appio] = [values.runtimeApiAddress, values[`${ownApi}ApiAddress`]] as (string | undefined)[]
  if (runtime !== undefined && appio !== undefined) {
    throw new UsageError(`${program}: give --runtime-api-address or --${ownApi}-api-address, not both.`, {
      exitStatus: 2,
    })
  }
  if (appio !== undefined) return { generation: 'appio', serverAddress: appio }
  return {
    generation: 'runtime',
    serverAddress: runtime ?? (program === 'flwr-serverapp' ? '127.0.0.1:8000' : '127.0.0.1:9094'),
  }
}

function readTokenFile(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  try {
    const token = readFileSync(path, 'utf8').trim()
    if (token !== '') return token
  } catch (cause) {
    throw new UsageError(`--token-file: ${path} cannot be read.`, { cause })
  }
  throw new UsageError(`--token-file: ${path} is empty.`)
}
