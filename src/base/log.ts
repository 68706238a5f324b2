import pino from 'pino'
import { limits } from './limits.ts'
import { printable, printableJson, shortened } from './printable.ts'

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

/** Anything that takes finished lines: a standard stream, or a file. */
export interface LineSink {
  write(line: string): unknown
  /** Text lines begin with their time. JSON lines always have it. */
  readonly withTime?: boolean
  /** The level of text lines is in colour. */
  readonly withColor?: boolean
}

export interface LogOptions {
  readonly format: LogFormat
  /** Every sink gets every line. */
  readonly sinks: readonly LineSink[]
  readonly level?: Level
}

/**
 * Creates a logger. Text lines look like Flower's: `INFO :      message`, then `key=value` for the fields. JSON lines are pino's, with `level` as a word and `time` in ISO 8601. No message and no value can forge a
 * line or steer a terminal: unprintable characters are escaped, and the further lines of a message or a stack are indented.
 */
export function createLogger(options: LogOptions): Logger {
  const level = options.level ?? 'info'
  const write = (line: string): void => {
    if (options.format === 'json') {
      const text = `${printableJson(line.trimEnd())}\n`
      for (const sink of options.sinks) sink.write(text)
    } else {
      const parts = textParts(line, level === 'debug')
      for (const sink of options.sinks) sink.write(textLine(parts, sink))
    }
  }
  const logger = pino(
    {
      // What apps print is filtered by no level, as with Flower, whose apps write to the same streams.
      level: levels.indexOf(level) < levels.indexOf('info') ? level : 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : error) },
    },
    { write },
  )
  const log =
    (at: Level) =>
    (message: string, fields: LogFields = {}): void => {
      if (levels.indexOf(at) >= levels.indexOf(level) || fields.printedBy !== undefined)
        logger[at](plain(fields), message)
    }
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

interface TextParts {
  readonly time: string
  /** The level; at the level `debug` also the time, as in Flower. */
  readonly head: string
  readonly color: number
  readonly rest: string
}

function textParts(json: string, timeInHead: boolean): TextParts {
  const { level, time, msg, ...others } = JSON.parse(json) as { level: Level; time: string; msg?: string }
  const { prefix, fields } = takeOrigin(others)
  const { label, color } = names[level]
  const pairs = Object.entries(fields).map(([key, value]) => ` ${printable(key)}=${fieldText(key, value)}`)
  const rest = `:${' '.repeat(9 - label.length)} ${prefix}${indented(msg ?? '')}${pairs.join('')}\n`
  return { time, head: `${label} ${timeInHead ? time : ''}`, color, rest }
}

function textLine({ time, head, color, rest }: TextParts, { withTime, withColor }: LineSink): string {
  const start = withColor ? `\x1b[${color}m${head}\x1b[0m` : head
  return `${withTime ? `${time} ` : ''}${start}${rest}`
}

/**
 * A record with the field `printedBy` holds a line of an app. Its text line names the app and the run before the message:
 * the message could imitate fields behind it.
 */
function takeOrigin(fields: LogFields): { prefix: string; fields: LogFields } {
  const { printedBy, run, ...others } = fields
  if (printedBy === undefined) return { prefix: '', fields }
  const owner = run === undefined ? String(printedBy) : `${printedBy}, run ${run}`
  return { prefix: `[${printable(owner)}] `, fields: others }
}

/** A stack keeps its lines. Any other value is on the line of its message, in quotes unless it is a plain word. */
function fieldText(key: string, value: unknown): string {
  if (typeof value !== 'string') return shortened(printable(JSON.stringify(value) ?? ''), limits.logValueCharactersMax)
  if (key === 'error' && value.includes('\n')) return indented(value)
  const text = shortened(value.trimEnd(), limits.logValueCharactersMax)
  return /[\s"=]/.test(text) || printable(text) !== text ? printable(JSON.stringify(text)) : text
}

/** No line but the first begins at the margin, so none can be taken for a line of the log. Tabs are layout and stay. */
function indented(text: string): string {
  const lines = shortened(withoutLastLineEnd(text), limits.logMessageCharactersMax).split(/\r?\n/)
  return lines.map((line) => line.split('\t').map(printable).join('\t')).join(`\n${' '.repeat(12)}`)
}

/** Trailing spaces stay: lines of Flower's strategies end in them. */
function withoutLastLineEnd(text: string): string {
  let end = text.length
  while (end > 0 && (text[end - 1] === '\n' || text[end - 1] === '\r')) end--
  return text.slice(0, end)
}
