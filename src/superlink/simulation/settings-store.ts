import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { type SimulationConfig, SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'

/** Queries of the `simulation_settings` table, one row a federation; no other file writes it. */

export async function find(db: Db, federation: string): Promise<SimulationConfig | undefined> {
  const row = await db
    .selectFrom('simulation_settings')
    .select('settings')
    .where('federation', '=', federation)
    .executeTakeFirst()
  return row && decodeSettings(row.settings)
}

export async function put(tx: Db, federation: string, config: SimulationConfig): Promise<void> {
  const settings = encodeSettings(config)
  await tx
    .insertInto('simulation_settings')
    .values(fitting('simulation_settings', { federation, settings }))
    .onConflict((conflict) => conflict.column('federation').doUpdateSet({ settings }))
    .execute()
}

export function encodeSettings(config: SimulationConfig): Uint8Array {
  return toBinary(SimulationConfigSchema, config)
}

export function decodeSettings(bytes: Uint8Array): SimulationConfig {
  return fromBinary(SimulationConfigSchema, bytes)
}
