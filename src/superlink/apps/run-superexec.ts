import type { Listener } from '../../rpc/listener.ts'
import { runOwnSuperexec } from '../../tasks/own-superexec.ts'
import type { SuperlinkConfig } from '../config.ts'
import type { SuperlinkContext } from '../context.ts'

/** Runs the SuperExec of this SuperLink. When it ends by itself, its apps are lost. */
export function runSuperexec(
  config: SuperlinkConfig,
  { clock, log, tasks }: SuperlinkContext,
  /** Without TLS. */
  apps: Listener,
  secret: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const { python, simulation: keepImports, dependencyInstallation, keepAppsMinutes, traceTarget } = config
  const about = { address: apps.address, caFile: undefined, secret, python, keepImports, dependencyInstallation }
  const onEnd = (startedAt: number): Promise<void> => tasks.loseLaunchedSince(startedAt, 'its SuperExec has ended')
  return runOwnSuperexec({ ...about, keepAppsMinutes, logSettings: config.log, traceTarget, clock, log, signal, onEnd })
}
