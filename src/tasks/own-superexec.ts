import { keepRunning, startProgram } from '../base/child-program.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { type LogSettings, logArguments } from '../base/log-options.ts'
import { type TraceTarget, traceArguments } from '../base/trace-export.ts'
import { type Address, formatAddress, loopbackAddress } from '../rpc/address.ts'

const program = 'flower-superexec'

export interface OwnSuperexecOptions {
  /** Address of the Runtime API of this server. */
  readonly address: Address
  /** CA of the Runtime API; absent: plain. */
  readonly caFile: string | undefined
  /** Secret of this start, without which this server hands out no task. */
  readonly secret: Uint8Array
  readonly python: string | undefined
  readonly keepImports: boolean
  readonly dependencyInstallation: boolean
  /** How long ServerApps wait for the next start of this server; absent: they end with it. */
  readonly keepAppsMinutes?: number | undefined
  readonly logSettings: LogSettings
  readonly traceTarget: TraceTarget | undefined
  /** Called when the SuperExec has ended by itself, with the instant of its start: its apps end with it. */
  readonly onEnd?: (startedAt: number) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Runs the SuperExec of a server with `--isolation subprocess` until the signal, and starts it again when it ends; it is
 * left to itself if the reason of the signal is `leaveChild`. The secret reaches each start over a pipe: arguments, environment and files can be read by other programs.
 */
export function runOwnSuperexec(options: OwnSuperexecOptions): Promise<void> {
  const { secret, clock, log, signal, onEnd } = options
  const args = superexecArguments(options)
  const start = () => {
    const child = startProgram(program, args, { stdio: ['pipe', 'inherit', 'inherit'] })
    // A child that ends before it has read the secret is started again by `keepRunning`.
    child.stdin?.on('error', () => {})
    child.stdin?.end(secret)
    return child
  }
  return keepRunning(start, { name: program, clock, log, signal, onEnd })
}

function superexecArguments(
  options: Omit<OwnSuperexecOptions, 'secret' | 'clock' | 'log' | 'signal' | 'onEnd'>,
): string[] {
  const { address, caFile, python, keepImports, dependencyInstallation, keepAppsMinutes, logSettings, traceTarget } =
    options
  return [
    ...(caFile === undefined ? ['--insecure'] : ['--root-certificates', caFile]),
    ...['--runtime-api-address', formatAddress(loopbackAddress(address))],
    ...['--parent-pid', String(process.pid), '--superexec-auth-secret-stdin'],
    ...logArguments(logSettings),
    ...traceArguments(traceTarget),
    ...(keepAppsMinutes === undefined ? [] : ['--keep-apps', String(keepAppsMinutes)]),
    ...(python === undefined ? [] : ['--python', python]),
    ...(keepImports ? ['--keep-imports'] : []),
    ...(dependencyInstallation ? ['--allow-runtime-dependency-installation'] : []),
  ]
}
