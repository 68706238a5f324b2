import { extname } from 'node:path'
import { readByteSize } from './byte-size.ts'
import type { LogFormat } from './log.ts'
import { type OptionRow, type OptionValues, wholeNumber } from './options.ts'

/** What the options of a program say about its log. */
export interface LogSettings {
  readonly format: LogFormat
  /** Whether lines on standard error begin with their time; lines of the file always do. */
  readonly withTime: boolean
  /** Also written, and rotated. */
  readonly file: string | undefined
  readonly fileBytesMax: number
  readonly fileAgeMsMax: number
  readonly filesKept: number
}

/** The log options that all programs have. */
export const logRows: readonly OptionRow[] = [
  { flags: '--log-format <format>', help: 'format of the log', default: 'text', choices: ['text', 'json'] },
  { flags: '--log-time', help: 'begin each line on standard error with its time; lines in --log-file always do' },
  { flags: '--log-file <path>', help: 'also write the log to this file' },
  {
    flags: '--log-max-size <size>',
    help: 'size at which a new log file is started, e.g. 500K, 20M or 1G',
    default: '20M',
  },
  { flags: '--log-keep <count>', help: 'number of old log files to keep, as FILE.1, FILE.2 …', default: '7' },
]

/** The further log options of the SuperLink, with the names of Flower. */
export const rotationRows: readonly OptionRow[] = [
  {
    flags: '--log-rotation-interval-hours <hours>',
    help: 'start a new log file after this time, also if it is small',
    default: '24',
  },
  { flags: '--log-rotation-backup-count <count>', help: "Flower's name for --log-keep" },
]

const hourMs = 3_600_000
/** Smaller files would be rotated for almost every line. */
const fileSizes = { min: '1K', max: '1024G' }

/** Throws a UsageError (status 2) that names the wrong option. */
export function readLogSettings(values: OptionValues): LogSettings {
  const { logRotationIntervalHours: hours, logRotationBackupCount: backups } = values
  const age = wholeNumber(hours, '--log-rotation-interval-hours', { min: 1 })
  const kept =
    wholeNumber(backups, '--log-rotation-backup-count', { min: 1, max: filesKeptMax }) ??
    wholeNumber(values.logKeep, '--log-keep', { min: 1, max: filesKeptMax })
  return {
    format: values.logFormat as LogFormat,
    withTime: values.logTime === true,
    file: values.logFile as string | undefined,
    fileBytesMax: readByteSize(values.logMaxSize as string, '--log-max-size', fileSizes),
    fileAgeMsMax: age === undefined ? Number.POSITIVE_INFINITY : age * hourMs,
    filesKept: kept as number,
  }
}

/** Each of them is renamed when a new file is started. */
const filesKeptMax = 1000

/** Returns the log options for the SuperExec of a server, which writes a file of its own: `superlink.superexec.log`. */
export function logArguments({ format, withTime, file, fileBytesMax, filesKept }: LogSettings): string[] {
  return [
    ...['--log-format', format],
    ...(withTime ? ['--log-time'] : []),
    ...(file === undefined ? [] : ['--log-file', besideFile(file)]),
    ...(file === undefined ? [] : ['--log-max-size', String(fileBytesMax), '--log-keep', String(filesKept)]),
  ]
}

function besideFile(file: string): string {
  const end = extname(file)
  return `${file.slice(0, file.length - end.length)}.superexec${end}`
}
