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
  await using superlink = await startSuperlink(config, log)
  if (!signal.aborted) await Promise.race([once(signal, 'abort'), superlink.idle])
  if (!signal.aborted) log.info('Nobody has needed this SuperLink for a while: it ends.')
  log.info('SuperLink terminated gracefully.')
  return 0
}
