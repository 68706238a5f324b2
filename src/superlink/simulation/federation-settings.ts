import type { SimulationConfig } from '../../gen/flwr/proto/federation_config_pb.ts'
import type { SuperlinkContext } from '../context.ts'
import { defaultSettings, type Machine, mergeSettings } from './settings.ts'
import * as settingsStore from './settings-store.ts'

/** How a federation simulates its nodes, unless a run says otherwise. */
export async function federationSettings(
  ctx: Pick<SuperlinkContext, 'db'>,
  federation: string,
): Promise<SimulationConfig> {
  return (await settingsStore.find(ctx.db.read, federation)) ?? defaultSettings
}

/** What holds for one run. Throws `simulation-invalid`. */
export async function resolveSettings(
  ctx: Pick<SuperlinkContext, 'db'>,
  machine: Machine,
  run: { federation: string; simulation: SimulationConfig | undefined },
): Promise<SimulationConfig> {
  return mergeSettings(await federationSettings(ctx, run.federation), run.simulation, machine)
}

/** Changes what later runs of a federation use. Throws `simulation-invalid`. */
export async function configureFederation(
  ctx: Pick<SuperlinkContext, 'db'>,
  machine: Machine,
  federation: string,
  changes: SimulationConfig | undefined,
): Promise<void> {
  const merged = mergeSettings(await federationSettings(ctx, federation), changes, machine)
  await ctx.db.transaction((tx) => settingsStore.put(tx, federation, merged))
}
