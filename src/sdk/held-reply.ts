import type { Message, MessageError, Metadata } from '../message/message.ts'
import { ArrayRecord, type ConfigRecord, type MetricRecord } from '../message/records.ts'

/** What is known of an ArrayRecord before its arrays are fetched. */
export interface ArrayNames {
  readonly arrayNames: readonly string[]
}

/** The records of a reply by name, in order; of ArrayRecords the names of their arrays. */
export type ReplyOutline = ReadonlyMap<string, MetricRecord | ConfigRecord | ArrayNames>

/**
 * A reply that has arrived, and whose arrays are still where it arrived: at the SuperLink. Its metrics are here, so that a
 * strategy can check and weigh all replies of a round before it fetches the first array.
 */
export interface HeldReply {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  /** Empty if the reply carries an error. */
  readonly outline: ReplyOutline
  /**
   * Fetches the whole reply; may be called again until the reply is released. Returns an error reply if its objects are
   * lost, or do not fit together.
   */
  load(signal: AbortSignal): Promise<Message>
  /** Says that the reply is not needed any more, so that the SuperLink can delete it. */
  release(): Promise<void>
}

/** A reply that is in memory already. */
export function heldInMemory(message: Message): HeldReply {
  return {
    metadata: message.metadata,
    error: message.error,
    outline: outlineOf(message),
    load: async () => message,
    release: async () => {},
  }
}

function outlineOf(message: Message): ReplyOutline {
  if (!message.hasContent()) return new Map()
  return new Map(
    [...message.content].map(([name, record]) => [
      name,
      record instanceof ArrayRecord ? { arrayNames: [...record.keys()] } : record,
    ]),
  )
}
