import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SuperlinkConfig } from './config.ts'
import { besideState } from './config-database.ts'

/** The folder for large objects, or for copies of those in a bucket; if the state is kept in memory, one that disappears with it. */
export async function objectDirectory(config: SuperlinkConfig, stack: AsyncDisposableStack): Promise<string> {
  const folder = besideState(config.database, config.storage ? 'object-cache' : 'objects')
  if (folder !== undefined) return folder
  const directory = await mkdtemp(join(tmpdir(), 'trellis-superlink-'))
  stack.defer(() => rm(directory, { recursive: true, force: true }))
  return directory
}
