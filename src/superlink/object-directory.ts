import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inMemory } from '../db/database.ts'
import type { SuperlinkConfig } from './config.ts'
import { besideDatabase } from './maintenance/stored-state.ts'

/** The folder for large objects; if the state is kept in memory, one that disappears with it. */
export async function objectDirectory(config: SuperlinkConfig, stack: AsyncDisposableStack): Promise<string> {
  const { path, storageDirectory } = config.database
  if (storageDirectory !== undefined) return storageDirectory
  if (path !== inMemory) return besideDatabase(path)
  const directory = await mkdtemp(join(tmpdir(), 'trellis-superlink-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  return directory
}
