import type { ContentCut } from './content-cut.ts'
import type { Outgoing } from './outgoing.ts'

/** One way to carry calls over connections to one server. Bytes in, bytes out; failures are RpcErrors. */
export interface Transport {
  unary(call: OutgoingCall): Promise<Answer>
  stream(call: OutgoingCall): AsyncIterable<Uint8Array>
  /** Takes no more calls, and ends those that are open a moment later. */
  close(): void
  /** Takes no more calls; the connection goes when those that are open have ended by themselves. */
  retire(): void
  /** Whether new calls can be carried. */
  readonly usable: boolean
}

export interface OutgoingCall {
  /** `/flwr.proto.Fleet/PullMessages` */
  readonly path: string
  /** Path over HTTP, e.g. `/v1/fleet/pull-messages`. */
  readonly route: string
  readonly body: Outgoing
  readonly headers: Readonly<Record<string, string>>
  readonly binaryHeaders: Readonly<Record<string, Uint8Array>>
  readonly signal: AbortSignal | undefined
  readonly timeoutMs: number | undefined
  /** Takes a large content out of the response of a unary call. */
  readonly cut: ContentCut | undefined
  /** Whether the server may carry the call out twice. */
  readonly isRepeatable: boolean
  /** Whether the server accepts the same bytes only once: then the caller makes the call again, with another signature. */
  readonly isAcceptedOnce: boolean
}

export interface Answer {
  readonly body: Uint8Array
  /** The server knows `trellis-wait-ms` and held the call. */
  readonly waited: boolean
}
