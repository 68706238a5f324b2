import { once } from 'node:events'
import { systemClock } from '../base/clock.ts'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { isDiskFull, isStorageFull } from '../base/full-disk.ts'
import type { Logger } from '../base/log.ts'
import { createProgramLogger } from '../base/log-sinks.ts'
import { boundOutputFile } from '../base/output-file.ts'
import type { Main } from '../base/program.ts'
import { takeServiceManager } from '../base/service-manager.ts'
import { onOperatorSignal } from '../identity/operator-signal.ts'
import { BucketError } from '../objects/bucket/bucket-errors.ts'
import { type Superlink, startSuperlink } from './compose.ts'
import { parseSuperlinkConfig, type SuperlinkConfig } from './config.ts'
import { stateName } from './config-database.ts'
import { openListDirectory } from './credentials.ts'
import { backupCommand } from './maintenance/backup.ts'
import { checkCommand } from './maintenance/check.ts'
import { doctorCommand } from './maintenance/doctor.ts'
import { migrateCommand } from './maintenance/migrate.ts'
import { moveObjectsCommand } from './maintenance/move-objects.ts'
import { startAgain } from './start-again.ts'

/** Commands besides that of serving. */
const commands: Readonly<Record<string, Main>> = {
  check: checkCommand,
  backup: backupCommand,
  doctor: doctorCommand,
  migrate: migrateCommand,
  'move-objects': moveObjectsCommand,
}

/** `flower-superlink` */
export const main: Main = async (argv, signal, ending) => {
  const [name = ''] = argv
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command) {
    return await command(argv.slice(1), signal).catch((error: unknown) => {
      // A database server or an object store that does not respond is no bug of the command.
      if (!(error instanceof DomainError)) throw error
      throw new UsageError(error instanceof BucketError ? error.sentence : error.message, { cause: error })
    })
  }
  const config = parseSuperlinkConfig(argv)
  if (!config) return 0
  if (ending) ending.drainMs = config.drainMs
  using _ = config.outputFile === undefined ? undefined : boundOutputFile(config.outputFile, config.log.fileBytesMax)
  const log = createProgramLogger(config.log)
  const serviceManager = takeServiceManager()
  log.info('Starting Flower SuperLink')
  for (const warning of config.warnings) log.warn(warning)
  // Without a listener, SIGHUP ends this process and SIGUSR1 opens the debugger: also between two SuperLinks of a takeover.
  using _hangUp = onOperatorSignal('SIGHUP', () => {})
  using _logsMoved = onOperatorSignal('SIGUSR1', () => {})
  await using stack = new AsyncDisposableStack()
  const listDirectory = await openListDirectory(config, stack)
  const build = () => start(config, log, { signal, listDirectory, onStandby: () => serviceManager.ready() })
  let hasServed = false
  while (!signal.aborted) {
    await using superlink = await (hasServed ? startAgain(build, { log, clock: systemClock, signal }) : build())
    if (!superlink) break
    hasServed = true
    serviceManager.ready()
    const end = signal.aborted
      ? undefined
      : await Promise.race([once(signal, 'abort'), superlink.idle, superlink.takenOver])
    if (typeof end === 'string') {
      log.error(`${end} This one stops serving and becomes its standby.`)
      await stepDown(superlink, log)
      continue
    }
    serviceManager.stopping()
    if (!signal.aborted) log.info('No program has used this SuperLink for a while: it ends.')
    // SIGINT comes from a person at a terminal: nothing must stay behind.
    if (signal.reason === 'SIGTERM') {
      await superlink.drain()
      superlink.leaveApps()
    }
    break
  }
  log.info('SuperLink terminated gracefully.')
  return 0
}

/** Returns nothing if the signal came while the SuperLink waited for its database, or for another SuperLink. */
async function start(
  config: SuperlinkConfig,
  log: Logger,
  overrides: { signal: AbortSignal; listDirectory: string | undefined; onStandby: () => void },
): Promise<Superlink | undefined> {
  try {
    return await startSuperlink(config, log, overrides)
  } catch (error) {
    if (overrides.signal.aborted) return undefined
    if (!isStorageFull(error) && !isDiskFull(error)) throw error
    const { database } = config
    const place = database.storageDirectory ?? stateName(database)
    throw new UsageError(`The disk that holds ${place} is full: free some space on it.`, { cause: error })
  }
}

/** What the end of a SuperLink would store belongs to the other one now: the database refuses it. */
async function stepDown(superlink: Superlink, log: Logger): Promise<void> {
  try {
    await superlink[Symbol.asyncDispose]()
  } catch (error) {
    log.debug('Nothing was stored at the end', { error: errorText(error) })
  }
}
