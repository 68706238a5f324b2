import { pythonFloat } from '../../base/python-float.ts'
import { ArrayRecord, type ConfigRecord, type MetricRecord } from '../../message/records.ts'

/** What a strategy has to show at its end. Metrics are by round; round 0 is the model before training. */
export class Result {
  /** The last aggregated model; empty when no round succeeded. */
  arrays: ArrayRecord = new ArrayRecord()
  /** Of the ClientApps, averaged. */
  readonly trainMetricsClientapp = new Map<number, MetricRecord>()
  readonly evaluateMetricsClientapp = new Map<number, MetricRecord>()
  /** Of `evaluateFn`, at the server. */
  readonly evaluateMetricsServerapp = new Map<number, MetricRecord>()

  /** Several lines, as Flower prints it. */
  toString(): string {
    const section = (title: string, metrics: ReadonlyMap<number, MetricRecord>): string =>
      `${title}:\n${metricsByRound(metrics)}\n`
    return [
      `Global Arrays:\n\tArrayRecord (${megabytes(this.arrays).toFixed(3)} MB)\n`,
      section('Aggregated ClientApp-side Train Metrics', this.trainMetricsClientapp),
      section('Aggregated ClientApp-side Evaluate Metrics', this.evaluateMetricsClientapp),
      section('ServerApp-side Evaluate Metrics', this.evaluateMetricsServerapp),
    ].join('\n')
  }
}

/** Of 1024 x 1024 bytes. */
export function megabytes(arrays: ArrayRecord): number {
  return arrays.byteLength() / 1024 ** 2
}

/** A record as Python prints a dictionary. */
export function recordText(record: MetricRecord | ConfigRecord): string {
  return pairsText(record, (value, isFloat) => (isFloat ? pythonFloat(value) : String(value)))
}

type NumberText = (value: number, isFloat: boolean) => string

function pairsText(record: MetricRecord | ConfigRecord, numberText: NumberText): string {
  const pairs = [...record.wireEntries()].map(([key, { value: wire }]) => {
    const value = record.get(key)
    return `'${key}': ${valueText(value, (item) => numberText(item, wire.case === 'double' || wire.case === 'doubleList'))}`
  })
  return `{${pairs.join(', ')}}`
}

function valueText(value: unknown, numberText: (value: number) => string): string {
  if (Array.isArray(value)) return `[${value.map((item) => valueText(item, numberText)).join(', ')}]`
  if (typeof value === 'number') return numberText(value)
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (value instanceof Uint8Array) return `<${value.length} bytes>`
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** One round a line, floats with four digits. */
function metricsByRound(metrics: ReadonlyMap<number, MetricRecord>): string {
  if (metrics.size === 0) return '{}'
  const short: NumberText = (value, isFloat) => `'${isFloat ? exponentText(value) : value}'`
  return `{ ${[...metrics].map(([round, record]) => `${round}: ${pairsText(record, short)}`).join(',\n  ')}}`
}

/** As Python's `%.4e`: the exponent has two digits. */
function exponentText(value: number): string {
  return value.toExponential(4).replace(/e([+-])(\d)$/, 'e$10$2')
}
