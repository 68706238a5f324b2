import type { Message } from '../../message/message.ts'
import { ArrayRecord, MetricRecord, type RecordDict } from '../../message/records.ts'
import { log } from '../log.ts'

/** Replies that cannot be put together: it fails the run, because the app's two sides do not fit. */
export class InconsistentRepliesError extends Error {
  override readonly name = 'InconsistentRepliesError'
}

/** The one record of arrays (in training) and the one of metrics of a reply. */
export interface ReplyParts {
  readonly arrays: ArrayRecord
  readonly metrics: MetricRecord
  readonly weight: number
}

/** Logs and drops error replies; answers the contents of the others. */
export function contentsOf(replies: readonly Message[], phase: 'aggregate_train' | 'aggregate_evaluate'): RecordDict[] {
  const failed = replies.filter((reply) => reply.hasError())
  const valid = replies.filter((reply) => !reply.hasError())
  log.info(`${phase}: Received ${valid.length} results and ${failed.length} failures`)
  for (const { metadata, error } of failed)
    log.info(`\t> Received error in reply from node ${metadata.srcNodeId}: ${error?.reason}`)
  return valid.map((reply) => reply.content)
}

/**
 * Takes replies apart. Each must have exactly one MetricRecord with the weight in it and, in training, exactly one
 * ArrayRecord; names and keys must be the same in all. Throws an InconsistentRepliesError.
 */
export function partsOf(contents: readonly RecordDict[], weightedByKey: string, inTraining: boolean): ReplyParts[] {
  const arrays = inTraining ? onlyRecords(contents, ArrayRecord, 'ArrayRecord') : []
  const metrics = onlyRecords(contents, MetricRecord, 'MetricRecord')
  return metrics.map((record, index) => {
    const weight = record.get(weightedByKey)
    if (weight === undefined)
      throw new InconsistentRepliesError(
        `The MetricRecord of the replies has no '${weightedByKey}' to weight them by: return it from the ClientApp.`,
      )
    if (Array.isArray(weight))
      throw new InconsistentRepliesError(`'${weightedByKey}' in the MetricRecord of the replies must be one number.`)
    return { arrays: arrays[index] ?? new ArrayRecord(), metrics: record, weight: Number(weight) }
  })
}

function onlyRecords<R extends ArrayRecord | MetricRecord>(
  contents: readonly RecordDict[],
  kind: new (...args: never[]) => R,
  kindName: string,
): R[] {
  const found = contents.map((content) => [...content].filter(([, record]) => record instanceof kind))
  if (found.some((records) => records.length !== 1))
    throw new InconsistentRepliesError(`Every reply must hold exactly one ${kindName}.`)
  const signatures = found.map(([entry]) => {
    const [name, record] = entry as [string, R]
    return JSON.stringify([name, [...record.keys()].sort()])
  })
  if (signatures.some((signature) => signature !== signatures[0]))
    throw new InconsistentRepliesError(`The ${kindName}s of all replies must have the same name and the same keys.`)
  return found.map(([entry]) => (entry as [string, R])[1])
}
