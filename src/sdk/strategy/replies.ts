import type { Message } from '../../message/message.ts'
import { ArrayRecord, type MetricRecord, type RecordDict } from '../../message/records.ts'
import { log } from '../log.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/** The one record of arrays (in training) and the one of metrics of a reply. */
export interface ReplyParts {
  readonly arrays: ArrayRecord
  readonly metrics: MetricRecord
  readonly weight: number
}

/**
 * Logs and drops error replies; answers the contents of the others, ordered by node: sums of floats depend on the order,
 * so the same replies must give the same model in whatever order they arrive.
 */
export function contentsOf(replies: readonly Message[], phase: 'aggregate_train' | 'aggregate_evaluate'): RecordDict[] {
  if (replies.length === 0) return []
  const ordered = replies.toSorted((a, b) => compare(a.metadata.srcNodeId, b.metadata.srcNodeId))
  const failed = ordered.filter((reply) => reply.hasError())
  const valid = ordered.filter((reply) => !reply.hasError())
  log.info(`${phase}: Received ${valid.length} results and ${failed.length} failures`)
  for (const { metadata, error } of failed)
    log.info(`\t> Received error in reply from node ${metadata.srcNodeId}: ${error?.reason}`)
  return valid.map((reply) => reply.content)
}

const namedMax = 8

/** Says which nodes gave no reply, or `undefined` when all did. */
export function missingReplies(asked: readonly Message[], replies: readonly Message[]): string | undefined {
  if (replies.length >= asked.length) return undefined
  const answered = new Set(replies.map(({ metadata }) => metadata.srcNodeId))
  const silent = asked.map(({ metadata }) => metadata.dstNodeId).filter((nodeId) => !answered.has(nodeId))
  const named = silent.slice(0, namedMax).join(', ') + (silent.length > namedMax ? ', …' : '')
  return `No reply from ${asked.length - replies.length} of ${asked.length} nodes${named && ` (${named})`}`
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/**
 * Takes replies apart. Each must have exactly one MetricRecord with the weight in it and, in training, exactly one
 * ArrayRecord; names and keys must be the same in all, in any order. Throws an InconsistentRepliesError.
 */
export function partsOf(contents: readonly RecordDict[], weightedByKey: string, inTraining: boolean): ReplyParts[] {
  const arrays = inTraining
    ? onlyRecords(
        contents.map((content) => content.arrayRecords),
        'ArrayRecord',
      )
    : []
  const metrics = onlyRecords(
    contents.map((content) => content.metricRecords),
    'MetricRecord',
  )
  return metrics.map((record, index) => {
    const weight = record.get(weightedByKey)
    if (weight === undefined)
      throw new InconsistentRepliesError(
        `The MetricRecord of the replies has no '${weightedByKey}' to weight them by: return it from the ClientApp, or name another metric with the strategy's weightedByKey.`,
      )
    if (Array.isArray(weight))
      throw new InconsistentRepliesError(`'${weightedByKey}' in the MetricRecord of the replies must be one number.`)
    return { arrays: arrays[index] ?? new ArrayRecord(), metrics: record, weight: Number(weight) }
  })
}

function onlyRecords<R extends ArrayRecord | MetricRecord>(
  found: readonly ReadonlyMap<string, R>[],
  kind: 'ArrayRecord' | 'MetricRecord',
): R[] {
  const wrong = found.find((records) => records.size !== 1)
  if (wrong)
    throw new InconsistentRepliesError(`Every reply must hold exactly one ${kind}, but one holds ${wrong.size}.`)
  const entries = found.map((records) => [...records][0] as [string, R])
  const [firstName, first] = entries[0] as [string, R]
  const keys = [...first.keys()]
  for (const [name, record] of entries)
    if (name !== firstName || record.size !== keys.length || !keys.every((key) => record.has(key)))
      throw new InconsistentRepliesError(
        `The ${kind}s of all replies must have the same name and the same keys, but '${firstName}' with ${listed(keys)} came beside '${name}' with ${listed([...record.keys()])}.`,
      )
  return entries.map(([, record]) => record)
}

const listedMax = 8

function listed(keys: readonly string[]): string {
  if (keys.length === 0) return 'no keys'
  return keys.length <= listedMax ? keys.join(', ') : `${keys.slice(0, listedMax).join(', ')}, … (${keys.length} keys)`
}
