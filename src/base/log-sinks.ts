import { basename, dirname } from 'node:path'
import { createStream } from 'rotating-file-stream'
import { createLogger, type LineSink, type LogFormat, type Logger } from './log.ts'

export interface LogSettings {
  readonly format: LogFormat
  /** Also written here, and rotated. */
  readonly file: string | undefined
  readonly rotationHours: number
  readonly backups: number
}

/** The logger of a program: standard error, and a rotating file when one is given. `FLWR_LOG_LEVEL` sets the level. */
export function createProgramLogger(settings: LogSettings, environment: NodeJS.ProcessEnv = process.env): Logger {
  const sinks: LineSink[] = [process.stderr]
  if (settings.file !== undefined) {
    sinks.push(
      createStream(basename(settings.file), {
        path: dirname(settings.file),
        interval: `${settings.rotationHours}h` as `${number}h` as never,
        maxFiles: settings.backups,
      }),
    )
  }
  const level = (environment.FLWR_LOG_LEVEL ?? 'INFO').toLowerCase()
  return createLogger({
    format: settings.format,
    sinks,
    level:
      level === 'debug'
        ? 'debug'
        : level === 'warning'
          ? 'warn'
          : level === 'error' || level === 'critical'
            ? 'error'
            : 'info',
    color: process.stderr.isTTY === true && environment.NO_COLOR === undefined && settings.file === undefined,
  })
}

export const consoleLog: LogSettings = { format: 'text', file: undefined, rotationHours: 24, backups: 7 }
