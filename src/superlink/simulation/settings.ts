import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { type SimulationConfig, SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'

/** What this machine has for the ClientApps of simulations. */
export interface Machine {
  readonly cpus: number
  readonly gpus: number
}

/** What holds where neither the federation nor the run says otherwise. Ray is not used; clients show the name. */
export const defaultSettings: SimulationConfig = create(SimulationConfigSchema, {
  numSupernodes: 10,
  clientResourcesNumCpus: 1,
  clientResourcesNumGpus: 0,
  backend: 'ray',
  verbose: false,
  initArgsLoggingLevel: 'WARNING',
  initArgsLogToDriver: true,
})

/**
 * `base` with what `overrides` says in its place. Throws `simulation-invalid` for what cannot be simulated here, with a
 * sentence that names the setting.
 */
export function mergeSettings(
  base: SimulationConfig,
  overrides: SimulationConfig | undefined,
  machine: Machine,
): SimulationConfig {
  const parts = [base, ...(overrides ? [overrides] : [])].map((part) => toBinary(SimulationConfigSchema, part))
  // What comes later in the bytes wins: that is how protobuf merges.
  const merged = fromBinary(SimulationConfigSchema, Buffer.concat(parts))
  const { numSupernodes = 0, clientResourcesNumCpus = 1, clientResourcesNumGpus = 0 } = merged
  const refuse = (sentence: string): DomainError => new DomainError('simulation-invalid', sentence)
  if (toBinary(SimulationConfigSchema, merged).length > limits.simulationSettingsBytesMax)
    throw refuse(`The settings of a simulation have more than ${limits.simulationSettingsBytesMax} bytes.`)
  if (numSupernodes < 1 || numSupernodes > limits.virtualNodesMax)
    throw refuse(`num-supernodes must be from 1 to ${limits.virtualNodesMax}, not ${numSupernodes}.`)
  if (clientResourcesNumCpus < 1) throw refuse('client-resources-num-cpus must be at least 1.')
  if (!(clientResourcesNumGpus >= 0)) throw refuse('client-resources-num-gpus must not be negative.')
  if (merged.initArgsNumCpus === 0) throw refuse('init-args-num-cpus must be at least 1.')
  const cpus = merged.initArgsNumCpus ?? machine.cpus
  if (clientResourcesNumCpus > cpus && merged.initArgsNumCpus !== undefined)
    throw refuse(`client-resources-num-cpus is ${clientResourcesNumCpus}, more than the ${cpus} of init-args-num-cpus.`)
  const gpus = merged.initArgsNumGpus ?? machine.gpus
  if (clientResourcesNumGpus > gpus)
    throw refuse(
      `client-resources-num-gpus is ${clientResourcesNumGpus}, and there are ${gpus} GPUs: set it to 0 to simulate without.`,
    )
  return merged
}

/** How many ClientApps run at the same time: as many as the processors, and the GPUs, are enough for; one at least. */
export function appsAtOnce(settings: SimulationConfig, machine: Machine): number {
  const { clientResourcesNumCpus: cpusEach = 1, clientResourcesNumGpus: gpusEach = 0 } = settings
  const byCpus = Math.floor((settings.initArgsNumCpus ?? machine.cpus) / cpusEach)
  const byGpus = gpusEach > 0 ? Math.floor((settings.initArgsNumGpus ?? machine.gpus) / gpusEach) : byCpus
  return Math.min(Math.max(1, Math.min(byCpus, byGpus)), limits.virtualAppsAtOnceMax)
}
