import { createLogger, type Logger } from './log.ts'
import { LogFile } from './log-file.ts'
import type { LogSettings } from './log-options.ts'

/** Creates the logger of a program: standard error, and a file if one is given. `FLWR_LOG_LEVEL` sets the level. */
export function createProgramLogger(settings: LogSettings, environment: NodeJS.ProcessEnv = process.env): Logger {
  const { format, withTime, file: path, fileBytesMax: bytesMax, fileAgeMsMax: ageMsMax, filesKept: keep } = settings
  const report = (sentence: string): void => void process.stderr.write(`ERROR :     ${sentence}\n`)
  const level = (environment.FLWR_LOG_LEVEL ?? 'INFO').toLowerCase()
  return createLogger({
    format,
    sinks: [
      {
        write: (line) => process.stderr.write(line),
        withTime,
        withColor: process.stderr.isTTY === true && environment.NO_COLOR === undefined,
      },
      ...(path === undefined ? [] : [new LogFile({ path, bytesMax, ageMsMax, keep }, { report })]),
    ],
    level:
      level === 'debug'
        ? 'debug'
        : level === 'warning'
          ? 'warn'
          : level === 'error' || level === 'critical'
            ? 'error'
            : 'info',
  })
}
