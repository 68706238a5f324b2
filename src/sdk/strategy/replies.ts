import type { Message } from '../../message/message.ts'
import type { ArrayNames } from '../../message/outline.ts'
import { type AnyRecord, ArrayRecord, MetricRecord, type RecordDict } from '../../message/records.ts'
import { log } from '../log.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/** The one record of arrays (in training) and the one of metrics of a reply. */
export interface ReplyParts {
  readonly arrays: ArrayRecord
  readonly metrics: MetricRecord
  readonly weight: number
}

export type AggregationPhase = 'aggregate_train' | 'aggregate_evaluate'

/**
 * Logs and drops error replies; returns the contents of the others, ordered by node: sums of floats depend on the order,
 * so the same replies must give the same model in whatever order they arrive.
 */
export function contentsOf(replies: readonly Message[], phase: AggregationPhase): RecordDict[] {
  return successesOf(inNodeOrder(replies), phase).map((reply) => reply.content)
}

/** Logs how many replies carry an error, and which, as Flower does; returns the others. */
export function successesOf<R extends Pick<Message, 'metadata' | 'error'>>(
  replies: readonly R[],
  phase: AggregationPhase,
): R[] {
  if (replies.length === 0) return []
  const failed = replies.filter(({ error }) => error !== undefined)
  const valid = replies.filter(({ error }) => error === undefined)
  log.info(`${phase}: Received ${valid.length} results and ${failed.length} failures`)
  for (const { metadata, error } of failed)
    log.info(`\t> Received error in reply from node ${metadata.srcNodeId}: ${error?.reason}`)
  return valid
}

/** The replies by the ids of their nodes, smallest first. */
export function inNodeOrder<R extends Pick<Message, 'metadata'>>(replies: Iterable<R>): R[] {
  return [...replies].sort((a, b) => compare(a.metadata.srcNodeId, b.metadata.srcNodeId))
}

const namedMax = 8

/** Says which nodes gave no reply, by name if it is known, or `undefined` when all did. */
export function missingReplies(
  asked: readonly Message[],
  replies: readonly Pick<Message, 'metadata'>[],
  names: ReadonlyMap<bigint, string> = new Map(),
): string | undefined {
  if (replies.length >= asked.length) return undefined
  const answered = new Set(replies.map(({ metadata }) => metadata.srcNodeId))
  const silent = asked.map(({ metadata }) => metadata.dstNodeId).filter((nodeId) => !answered.has(nodeId))
  const called = silent.map((nodeId) => names.get(nodeId) ?? nodeId)
  const named = called.slice(0, namedMax).join(', ') + (silent.length > namedMax ? ', …' : '')
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
  const arrays = inTraining ? onlyRecords(contents, 'ArrayRecord') : []
  const metrics = onlyRecords(contents, 'MetricRecord') as MetricRecord[]
  return metrics.map((record, index) => ({
    arrays: (arrays[index] as ArrayRecord | undefined) ?? new ArrayRecord(),
    metrics: record,
    weight: weightIn(record, weightedByKey),
  }))
}

/** The weight of a reply. Throws an InconsistentRepliesError if its metrics have none, or a list. */
export function weightIn(metrics: MetricRecord, weightedByKey: string): number {
  const weight = metrics.get(weightedByKey)
  if (weight === undefined)
    throw new InconsistentRepliesError(
      `The MetricRecord of the replies has no '${weightedByKey}' to weight them by: return it from the ClientApp, or name another metric with the strategy's weightedByKey.`,
    )
  if (Array.isArray(weight))
    throw new InconsistentRepliesError(`'${weightedByKey}' in the MetricRecord of the replies must be one number.`)
  return Number(weight)
}

type RecordKind = 'ArrayRecord' | 'MetricRecord'
type RecordOrNames = AnyRecord | ArrayNames

/**
 * The one record of that kind in each of the contents, or its outline. Throws an InconsistentRepliesError if one of them
 * has another number of such records, another name, or other keys than the first.
 */
export function onlyRecords(
  contents: readonly ReadonlyMap<string, RecordOrNames>[],
  kind: RecordKind,
): RecordOrNames[] {
  const found = contents.map((content) => [...content].filter(([, record]) => kindOf(record) === kind))
  const wrong = found.find((records) => records.length !== 1)
  if (wrong)
    throw new InconsistentRepliesError(`Every reply must hold exactly one ${kind}, but one holds ${wrong.length}.`)
  const entries = found.map(([entry]) => entry as [string, RecordOrNames])
  const [firstName, first] = entries[0] ?? ['', undefined]
  const keys = first ? keysOf(first) : []
  for (const [name, record] of entries) {
    const replyKeys = new Set(keysOf(record))
    if (name !== firstName || replyKeys.size !== keys.length || !keys.every((key) => replyKeys.has(key)))
      throw new InconsistentRepliesError(
        `The ${kind}s of all replies must have the same name and the same keys, but '${firstName}' with ${listed(keys)} came beside '${name}' with ${listed([...replyKeys])}.`,
      )
  }
  return entries.map(([, record]) => record)
}

function kindOf(record: RecordOrNames): RecordKind | undefined {
  if (record instanceof MetricRecord) return 'MetricRecord'
  return record instanceof ArrayRecord || 'arrayNames' in record ? 'ArrayRecord' : undefined
}

function keysOf(record: RecordOrNames): string[] {
  return 'arrayNames' in record ? [...record.arrayNames] : [...record.keys()]
}

const listedMax = 8

function listed(keys: readonly string[]): string {
  if (keys.length === 0) return 'no keys'
  return keys.length <= listedMax ? keys.join(', ') : `${keys.slice(0, listedMax).join(', ')}, … (${keys.length} keys)`
}
