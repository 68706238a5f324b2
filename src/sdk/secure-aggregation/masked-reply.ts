import type { ArrayRecord, ConfigRecord } from '../../message/records.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import { type MetricLayout, metricCount } from './fixed-point.ts'
import { recordKey, WireError } from './wire.ts'

/** What the nodes send in the stage `masked`: numbers to add up, and which metrics are among them. */

/** How many letters of the metrics' names an error repeats. */
const namesMax = 200

/** The layout that most of the replies have, so that one node with another cannot end the round. */
export function commonLayout(outlines: Replies['outlines']): MetricLayout | undefined {
  const layouts = outlines.flatMap(({ outline }) => {
    const record = outline.get(recordKey)
    const layout = record && 'get' in record ? readLayout(record) : undefined
    return layout ? [layout] : []
  })
  const [largest] = [...Map.groupBy(layouts, keyOf).values()].sort((a, b) => b.length - a.length)
  return largest?.[0]
}

/** Reads the masked numbers of a reply. Throws a {@link WireError} unless the model and the layout need as many. */
export function maskedIn(
  record: ConfigRecord,
  arrays: ArrayRecord,
  { values: valuesNeeded, layout }: { values: number; layout: MetricLayout | undefined },
): { layout: MetricLayout; values: Uint32Array; metrics: BigUint64Array } {
  const ofReply = readLayout(record)
  if (!ofReply || !layout) throw new WireError('metric-names and metric-lengths do not fit.')
  if (keyOf(ofReply) !== keyOf(layout))
    throw new WireError(
      `It returns other metrics (${namesOf(ofReply)}) than most nodes (${namesOf(layout)}): all must return the same.`,
    )
  const values = arrays.getArray('values').values('uint32')
  const metrics = arrays.getArray('metrics').values('uint64')
  if (values.length !== valuesNeeded) throw new WireError('It sent another number of values than the model has.')
  if (metrics.length !== metricCount(layout)) throw new WireError('It sent another number of metrics than it names.')
  return { layout, values, metrics }
}

function readLayout(record: { get(key: string): unknown }): MetricLayout | undefined {
  const [names, lengths] = [record.get('metric-names'), record.get('metric-lengths')]
  if (!Array.isArray(names) || !Array.isArray(lengths) || names.length !== lengths.length) return undefined
  const sizes = lengths.map(Number)
  if (!sizes.every((size) => Number.isSafeInteger(size) && size >= -1)) return undefined
  return { names: names.map(String), lengths: sizes }
}

function keyOf({ names, lengths }: MetricLayout): string {
  return JSON.stringify([names, lengths])
}

function namesOf({ names }: MetricLayout): string {
  return names.join(', ').slice(0, namesMax)
}
