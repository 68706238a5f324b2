import { once } from 'node:events'
import { createProgramLogger } from '../base/log-sinks.ts'
import type { Main } from '../base/program.ts'
import { startSuperlink } from './compose.ts'
import { parseSuperlinkConfig } from './config.ts'

/** `flower-superlink` */
export const main: Main = async (argv, signal) => {
  const config = parseSuperlinkConfig(argv)
  if (!config) return 0
  const log = createProgramLogger(config.log)
  log.info('Starting Flower SuperLink')
  for (const warning of config.warnings) log.warn(warning)
  await using _superlink = await startSuperlink(config, log)
  if (!signal.aborted) await once(signal, 'abort')
  log.info('SuperLink terminated gracefully.')
  return 0
}
