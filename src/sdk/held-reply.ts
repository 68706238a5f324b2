import type { Message, MessageError, Metadata } from '../message/message.ts'
import type { Outline } from '../message/outline.ts'
import { ArrayRecord } from '../message/records.ts'

/** A piece of the file of an array. */
export interface ArrayPiece {
  /** The name of the array in its record. */
  readonly name: string
  readonly stype: string
  readonly isFirst: boolean
  readonly isLast: boolean
  /**
   * Returns the bytes.
   *
   * @param lend returns memory of so many bytes, which a large piece is written to. It is the caller's again afterwards.
   */
  load(signal: AbortSignal, lend?: (bytes: number) => Uint8Array): Promise<Uint8Array>
}

/**
 * A reply that has arrived, and whose arrays are still where it arrived: at the SuperLink. Its metrics are here, so that a
 * strategy can check and weigh all replies of a round before it fetches the first array.
 */
export interface HeldReply {
  readonly metadata: Metadata
  readonly error: MessageError | undefined
  /** When it arrived, by the clock of the ServerApp; absent if that is not known. */
  readonly arrivedAt?: number
  /** Empty if the reply carries an error. */
  readonly outline: Outline
  /**
   * Fetches the whole reply; may be called again until the reply is released. Returns an error reply if its objects are
   * lost, or do not fit together.
   */
  load(signal: AbortSignal): Promise<Message>
  /** Set if `pieces` loads the whole reply. */
  readonly loadsWhole?: true
  /** The arrays of its one ArrayRecord, piece by piece. Throws a LostReplyError if they are lost. */
  pieces(signal: AbortSignal): Promise<readonly ArrayPiece[]>
  /** Says that the reply is not needed any more, so that the SuperLink can delete it. */
  release(): Promise<void>
}

/** A reply whose share is part of the mean already cannot be fetched any more: the aggregation starts over without it. */
export class LostReplyError extends Error {
  override readonly name = 'LostReplyError'
  readonly metadata: Metadata
  readonly reply: Message

  constructor({ metadata }: Pick<HeldReply, 'metadata'>, reply: Message) {
    super(`A reply was lost while the replies were aggregated: ${reply.error?.reason}`)
    this.metadata = metadata
    this.reply = reply
  }
}

/** A reply that is in memory already. */
export function heldInMemory(message: Message): HeldReply {
  return {
    metadata: message.metadata,
    error: message.error,
    outline: outlineOf(message),
    load: async () => message,
    pieces: async () => piecesOf(message),
    release: async () => {},
  }
}

/** Each array of the only ArrayRecord as one piece. */
export function piecesOf(message: Message): ArrayPiece[] {
  const [arrays] = message.content.arrayRecords.values()
  return [...(arrays ?? [])].map(([name, { stype, data }]) => ({
    name,
    stype,
    isFirst: true,
    isLast: true,
    load: async () => data,
  }))
}

function outlineOf(message: Message): Outline {
  if (!message.hasContent()) return new Map()
  return new Map(
    [...message.content].map(([name, record]) => [
      name,
      record instanceof ArrayRecord ? { arrayNames: [...record.keys()] } : record,
    ]),
  )
}
