import pino from 'pino'

/** A structured logger. Fields are for machines, the message is for people; secrets belong in neither. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export type LogFields = Readonly<Record<string, unknown>>
export type LogFormat = 'text' | 'json'
const levels = ['debug', 'info', 'warn', 'error'] as const
type Level = (typeof levels)[number]

/** Anything that takes finished lines: a standard stream, or a rotating file. */
export interface LineSink {
  write(line: string): unknown
}

export interface LogOptions {
  readonly format: LogFormat
  /** Every sink gets every line; the first is the console. */
  readonly sinks: readonly LineSink[]
  readonly level?: Level
  readonly color?: boolean
}

/**
 * Text lines look like Flower's (`INFO :      message`, then `key=value` for the fields), with colour only where it was
 * asked for; JSON lines are pino's with `level` as a word and `time` in ISO 8601.
 */
export function createLogger(options: LogOptions): Logger {
  const level = options.level ?? 'info'
  const write = (line: string): void => {
    const text = options.format === 'json' ? line : textLine(line, options.color ?? false, level === 'debug')
    for (const sink of options.sinks) sink.write(text)
  }
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : error) },
    },
    { write },
  )
  const log =
    (at: Level) =>
    (message: string, fields: LogFields = {}): void =>
      logger[at](plain(fields), message)
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

/** A logger that says nothing, for tests. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }

/** Ids are bigints, which JSON does not know. */
function plain(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, typeof value === 'bigint' ? value.toString() : value]),
  )
}

const names: Record<Level, { label: string; color: number }> = {
  debug: { label: 'DEBUG', color: 94 },
  info: { label: 'INFO', color: 92 },
  warn: { label: 'WARNING', color: 93 },
  error: { label: 'ERROR', color: 91 },
}

function textLine(json: string, color: boolean, withTime: boolean): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as { level: Level; time: string; msg?: string }
  const { label, color: code } = names[level]
  const head = `${label} ${withTime ? time : ''}`
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`)
  return `${color ? `\x1b[${code}m${head}\x1b[0m` : head}:${' '.repeat(9 - label.length)} ${msg ?? ''}${pairs.join('')}\n`
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return typeof value === 'string' && /[\s"=]/.test(text) && !text.includes('\n') ? JSON.stringify(text) : text
}
