import { once } from 'node:events'
import { UsageError } from '../base/errors.ts'
import { isDiskFull, isStorageFull } from '../base/full-disk.ts'
import { createProgramLogger } from '../base/log-sinks.ts'
import type { Main } from '../base/program.ts'
import { takeServiceManager } from '../base/service-manager.ts'
import { startSuperlink } from './compose.ts'
import { parseSuperlinkConfig } from './config.ts'
import { stateName } from './config-database.ts'
import { backupCommand } from './maintenance/backup.ts'
import { checkCommand } from './maintenance/check.ts'
import { doctorCommand } from './maintenance/doctor.ts'

/** Commands besides that of serving. */
const commands: Readonly<Record<string, Main>> = {
  check: checkCommand,
  backup: backupCommand,
  doctor: doctorCommand,
}

/** `flower-superlink` */
export const main: Main = async (argv, signal, ending) => {
  const command = commands[argv[0] ?? '']
  if (command) return command(argv.slice(1), signal)
  const config = parseSuperlinkConfig(argv)
  if (!config) return 0
  if (ending) ending.drainMs = config.drainMs
  const log = createProgramLogger(config.log)
  const serviceManager = takeServiceManager()
  log.info('Starting Flower SuperLink')
  for (const warning of config.warnings) log.warn(warning)
  await using superlink = await startSuperlink(config, log, { signal }).catch((error) => {
    // It was told to end while it waited for its database.
    if (signal.aborted) return undefined
    if (!isStorageFull(error) && !isDiskFull(error)) throw error
    const { database } = config
    throw new UsageError(
      `The disk that holds ${database.storageDirectory ?? stateName(database)} is full: free some space on it.`,
      {
        cause: error,
      },
    )
  })
  if (!superlink) return 0
  serviceManager.ready()
  if (!signal.aborted) await Promise.race([once(signal, 'abort'), superlink.idle])
  serviceManager.stopping()
  if (!signal.aborted) log.info('No program has used this SuperLink for a while: it ends.')
  // SIGINT comes from a person at a terminal: nothing must stay behind.
  if (signal.reason === 'SIGTERM') {
    await superlink.drain()
    superlink.leaveApps()
  }
  log.info('SuperLink terminated gracefully.')
  return 0
}
