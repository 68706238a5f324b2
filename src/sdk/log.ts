import { createLogger, type Logger } from '../base/log.ts'

/**
 * The log of an app, in the format of Flower's: what a ServerApp writes here, or prints, is the log of its run.
 *
 * @example
 * log.info('[ROUND 1/3]')
 */
export const log: Logger = createLogger({
  format: 'text',
  // Looked up at each line: the app's process sends its standard error on to the SuperLink.
  sinks: [{ write: (line) => process.stderr.write(line) }],
})
