import type { Logger } from '../../src/base/log.ts'

/** Keeps what is logged at `info` and above, as `level message`. */
export function recordingLogger(): { log: Logger; lines: string[] } {
  const lines: string[] = []
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`)
  return { log: { debug() {}, info: at('info'), warn: at('warn'), error: at('error') }, lines }
}
