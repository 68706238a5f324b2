import { Option } from 'commander'
import { readByteSize } from '../../base/byte-size.ts'
import { type OptionRow, type OptionValues, wholeNumber } from '../../base/options.ts'

/** How much the runs of a SuperLink may take; `undefined`: without limit. */
export interface QuotaLimits {
  /** Bytes of the objects of all messages and of the database; with PostgreSQL of the objects alone. */
  readonly disk: number | undefined
  /** Bytes of the objects that the messages of one run name. */
  readonly runDisk: number | undefined
  /** Bytes of the objects of messages that one SuperNode has sent and that no ServerApp has received yet. */
  readonly nodeDisk: number | undefined
  /** Objects that the messages of one run name, counted once for each message. */
  readonly runObjects: number
  /** Runs that have not finished. */
  readonly runs: number
  readonly runLogBytes: number
  readonly runEvents: number
}

export const quotaRows: readonly OptionRow[] = [
  {
    flags: '--quota-disk <size>',
    help: 'limit for models, messages and database together (PostgreSQL: models and messages), e.g. 500G; off: only the disk itself limits them',
    default: 'off',
  },
  {
    flags: '--quota-run-disk <size>',
    help: 'limit for the models and messages of one run at a time, e.g. 20G, or off',
    default: '1T',
  },
  {
    flags: '--quota-node-disk <size>',
    help: 'limit for what one SuperNode has sent and no ServerApp has received yet, e.g. 2G, or off',
    default: '64G',
  },
  {
    flags: '--quota-run-objects <count>',
    help: 'limit for the objects (parts of models) in the messages of one run at a time',
    default: '20000000',
  },
  { flags: '--quota-runs <count>', help: 'limit for runs that have not finished', default: '1000' },
  { flags: '--quota-run-log <size>', help: 'size at which the log of a run ends, at most 1G', default: '64M' },
  { flags: '--quota-run-events <count>', help: 'limit for the events of a run', default: '10000' },
]

/** Throws a UsageError (status 2) that names the wrong option. */
export function readQuotas(values: OptionValues): QuotaLimits {
  const size = (text: unknown, flag: string): number | undefined =>
    text === 'off' ? undefined : readByteSize(text as string, flag, { min: '1M', max: '1024T', example: '20G' })
  const count = (value: OptionValues[string], flag: string): number =>
    wholeNumber(value, flag, { min: 1, max: 1_000_000_000 }) as number
  return {
    disk: size(values.quotaDisk, '--quota-disk'),
    runDisk: size(values.quotaRunDisk, '--quota-run-disk'),
    nodeDisk: size(values.quotaNodeDisk, '--quota-node-disk'),
    runObjects: count(values.quotaRunObjects, '--quota-run-objects'),
    runs: count(values.quotaRuns, '--quota-runs'),
    runLogBytes: readByteSize(values.quotaRunLog as string, '--quota-run-log', { min: '1K', max: '1G' }),
    runEvents: count(values.quotaRunEvents, '--quota-run-events'),
  }
}

/** What applies without options. */
export const defaultQuotas: QuotaLimits = readQuotas(
  Object.fromEntries(quotaRows.map((row) => [new Option(row.flags).attributeName(), row.default])),
)
