import { limits } from '../base/limits.ts'
import type { MakeRoom } from '../base/make-room.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import type { JudgeArrived } from './arriving-bytes.ts'
import type { ContentCut } from './content-cut.ts'
import type { ServedCall } from './drain.ts'

/**
 * One connection of a listener. The peer was judged before the first call, and is judged again when trust, revocation
 * data, policy or the clock change: read `peer` at each call and keep no copy.
 */
export interface Connection {
  readonly id: number
  /** `host:port` of the peer. */
  readonly remoteAddress: string
  readonly secure: boolean
  readonly peer: PeerIdentity
  /** Aborted when the connection is gone. */
  readonly closed: AbortSignal
  /** Aborted when an accepted peer is refused later: its calls end with the reason, then the connection closes. */
  readonly cutOff: AbortSignal
  /** Bytes that have been handed to the system to be sent. */
  readonly bytesSent: number
  close(): void
}

/**
 * What is known of a call before its body is received: enough to identify the caller. Handlers never learn through which
 * door a call came.
 */
export interface CallHead {
  /** Full name, e.g. `/flwr.proto.Fleet/PullMessages`. */
  readonly method: string
  readonly connection: Connection
  /** Aborted when the caller hung up or its deadline passed, until its response has been sent. */
  readonly signal: AbortSignal
  /**
   * How long the caller lets us hold the call, in milliseconds: the `trellis-wait-ms` header, bounded by the limits;
   * `undefined` for programs that do not know the header (otherwise the door marks the response with `trellis-waited: 1`).
   */
  readonly waitMs: number | undefined
  /** All values of a text header, in order. */
  header(name: string): readonly string[]
  /** All values of a binary header, decoded: `NAME-bin` over gRPC, base64 in `NAME` over HTTP. */
  binaryHeader(name: string): readonly Uint8Array[]
  /**
   * Waits until there is room for so many bytes (more) of the response. To be called before a large content is read: small
   * responses find room by themselves.
   */
  readonly makeRoom: MakeRoom
}

/** A call whose body has been received. */
export interface Call extends CallHead {
  /** Aborted as that of the head while the handler works, and when the server is about to end: for what the call waits for. */
  readonly signal: AbortSignal
  /** The signal of the head: also after the handler, while the response is sent, and only if the caller does not receive it. */
  readonly hungUp: AbortSignal
  /** The request as it was received: the SuperExec signature covers these bytes. */
  readonly requestBytes: Uint8Array
}

/** A call as a door hands it over: the head, and the body for the asking. */
export interface IncomingCall {
  readonly head: CallHead
  /** Receives the whole body. Throws `message-too-large` as soon as it is known to exceed `bytesMax`. */
  receive(bytesMax: number, options?: ReceiveOptions): Promise<Uint8Array>
}

export interface ReceiveOptions {
  /** Takes a large content out of the body while it arrives: then the rest is returned. */
  readonly cut?: ContentCut | undefined
  /** Called while the body arrives. If it throws, the rest of the body is not kept. */
  readonly judge?: JudgeArrived
}

/** Adds the body to a head, whose `signal` stays lazy. */
export class ReceivedCall implements Call {
  readonly #head: CallHead
  readonly requestBytes: Uint8Array
  readonly #served: ServedCall | undefined

  constructor(head: CallHead, requestBytes: Uint8Array, served?: ServedCall) {
    this.#head = head
    this.#served = served
    this.requestBytes = requestBytes
  }

  get method(): string {
    return this.#head.method
  }

  get connection(): Connection {
    return this.#head.connection
  }

  get signal(): AbortSignal {
    return this.#served?.signalOf(this.#head) ?? this.#head.signal
  }

  get hungUp(): AbortSignal {
    return this.#head.signal
  }

  get waitMs(): number | undefined {
    return this.#head.waitMs
  }

  header(name: string): readonly string[] {
    return this.#head.header(name)
  }

  binaryHeader(name: string): readonly Uint8Array[] {
    return this.#head.binaryHeader(name)
  }

  get makeRoom(): MakeRoom {
    return this.#head.makeRoom
  }
}

/** Reads the `trellis-wait-ms` header; nonsense counts as absent. */
export function waitMsOf(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d{1,9}$/.test(value)) return undefined
  return Math.min(Number(value), limits.heldCallMsMax)
}
