import { UsageError } from '../base/errors.ts'
import { createProgramLogger } from '../base/log-sinks.ts'
import type { Main } from '../base/program.ts'
import { takeServiceManager } from '../base/service-manager.ts'
import { RpcError } from '../rpc/channel.ts'
import { startSupernode } from './compose.ts'
import { parseSupernodeConfig } from './config.ts'
import { explainRefusal } from './refusals.ts'

/** `flower-supernode` */
export const main: Main = async (argv, signal, ending) => {
  const config = parseSupernodeConfig(argv)
  if (!config) return 0
  if (ending) ending.drainMs = config.drainMs
  const log = createProgramLogger(config.log)
  const serviceManager = takeServiceManager()
  log.info('Starting Flower SuperNode')
  for (const warning of config.warnings) log.warn(warning)
  try {
    await using supernode = await startSupernode(config, log, signal)
    serviceManager.ready()
    await supernode.done
    serviceManager.stopping()
  } catch (error) {
    if (signal.aborted) return 0
    throw explain(error)
  }
  log.info('SuperNode terminated gracefully.')
  return 0
}

/** What the SuperLink, or the way to it, had against us is the user's to mend. */
function explain(error: unknown): unknown {
  if (!(error instanceof RpcError)) return error
  return new UsageError(explainRefusal(error, Date.now()), { flowerCode: 305, cause: error })
}
