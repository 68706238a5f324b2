import { createLogger, type Logger } from '../base/log.ts'

/** The log of an app process, in the format of the programs: what the runtime itself has to say about the app. */
export type AppLog = Logger

/** Writes through `process.stderr` as it is at that moment, so that the lines are part of the run's log too. */
export function createAppLog(): AppLog {
  return createLogger({ format: 'text', sinks: [{ write: (line) => process.stderr.write(line) }] })
}
