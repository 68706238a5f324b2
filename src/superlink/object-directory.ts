import { createTemporaryDirectory } from '../base/temporary-directory.ts'
import type { SuperlinkConfig } from './config.ts'
import { besideState } from './config-database.ts'

/**
 * The folder for large objects, or for copies of those in a bucket. It is a temporary one if the state is in memory, or if
 * nothing but copies would be kept on this machine.
 */
export async function objectDirectory(config: SuperlinkConfig, stack: AsyncDisposableStack): Promise<string> {
  const folder = besideState(config.database, config.storage ? 'object-cache' : 'objects')
  if (folder !== undefined) return folder
  return stack.use(await createTemporaryDirectory('trellis-superlink')).path
}
