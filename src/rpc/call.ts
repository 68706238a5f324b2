import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { PeerIdentity } from '../identity/caller.ts'

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
  /** Aborted when the peer was let in and is refused now: its calls end with the reason, then the connection. */
  readonly cutOff: AbortSignal
  close(): void
}

/** What a handler may know of a call. Which door it came through is none of its business. */
export interface Call {
  /** Full name, e.g. `/flwr.proto.Fleet/PullMessages`. */
  readonly method: string
  readonly connection: Connection
  /** The request as it was received: the SuperExec signature covers these bytes. */
  readonly requestBytes: Uint8Array
  /** Aborted when the caller hung up, its deadline passed, or the server stops. */
  readonly signal: AbortSignal
  /**
   * How long the caller lets us hold the call, in milliseconds: the `trellis-wait-ms` header, bounded by the limits;
   * `undefined` for programs that do not know the header (a door marks the answer with `trellis-waited: 1` otherwise).
   */
  readonly waitMs: number | undefined
  /** All values of a text header, in order. */
  header(name: string): readonly string[]
  /** All values of a binary header, decoded: `NAME-bin` over gRPC, base64 in `NAME` over HTTP. */
  binaryHeader(name: string): readonly Uint8Array[]
}

/** `C` is what the service's `authenticate` found out about the caller. */
export type Handler<M extends DescMethod, C> = M['methodKind'] extends 'server_streaming'
  ? (request: MessageShape<M['input']>, call: Call, caller: C) => AsyncIterable<MessageInitShape<M['output']>>
  : (
      request: MessageShape<M['input']>,
      call: Call,
      caller: C,
    ) => MessageInitShape<M['output']> | Promise<MessageInitShape<M['output']>>

export type ServiceHandlers<S extends DescService, C> = {
  readonly [K in keyof S['method']]: Handler<S['method'][K], C>
}

/** A service as a listener takes it. Build it with {@link defineService}. */
export interface Service {
  readonly desc: DescService
  /** Throws a DomainError when the caller may not call `method` (the local name, e.g. `pullMessages`). */
  authenticate(call: Call, method: string, request: unknown): Promise<unknown>
  readonly handlers: Readonly<Record<string, unknown>>
  /** Flower's RPCs of this service that are not for us, each with the refusal that says so. */
  readonly unserved?: UnservedCalls
}

/** By the name of the RPC, e.g. `ListApps`. */
export type UnservedCalls = Readonly<Record<string, () => DomainError>>

export function defineService<S extends DescService, C>(
  desc: S,
  service: Pick<Service, 'unserved'> & {
    authenticate: (call: Call, method: keyof S['method'] & string, request: unknown) => Promise<C>
    handlers: ServiceHandlers<S, C>
  },
): Service {
  return { ...service, desc, authenticate: service.authenticate as Service['authenticate'] }
}

/** Reads the `trellis-wait-ms` header; nonsense counts as absent. */
export function waitMsOf(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d{1,9}$/.test(value)) return undefined
  return Math.min(Number(value), limits.heldCallMsMax)
}
