import type { WireStatus } from './wire-status.ts'

/** A row of the error catalogue. */
export interface ErrorRow {
  /** The canonical status; each door has its own spelling of it. */
  readonly status: WireStatus
  /** Where the HTTP generation has a status of its own for this error. */
  readonly httpStatus?: number
  /** Flower's number of this error on the HTTP wire (`code` of the JSON body), where it has one. */
  readonly number?: number
  /** What the gRPC generation (1.29) says, byte for byte where its clients compare. */
  readonly sentence: string
  /** What the HTTP generation says, where it differs. */
  readonly httpSentence?: string
  /** Whether the detail of the error replaces the sentence. */
  readonly showsDetail?: boolean
  /** When the same call may succeed: travels as `retry-after`, and as gRPC's pushback. */
  readonly retryAfterSeconds?: number
  /** The code is a reason to reject a peer because of its identity: it travels with the error, and is audited. */
  readonly refusesPeer?: boolean
}
