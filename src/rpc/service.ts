import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { DomainError } from '../base/errors.ts'
import type { BodyClass } from '../base/limits.ts'
import type { Call, CallHead } from './call.ts'

/** What the access table says of a method: its caller, whether it changes state, how large its body may be. */
export interface AccessRow<Kind extends string = string> {
  readonly caller: Kind
  /** Written to the audit log when it succeeds. */
  readonly changes: boolean
  readonly body: BodyClass
}

/** A row for each method of a service: a new method without a row does not compile. */
export type AccessTable<S extends DescService, Kind extends string> = Readonly<
  Record<keyof S['method'], AccessRow<Kind>>
>

/** A method as interceptors and the identification of callers see it. */
export interface CalledMethod {
  /** Full name of the service, e.g. `flwr.proto.Fleet`. */
  readonly service: string
  /** Local name, e.g. `pullMessages`. */
  readonly name: string
  readonly row: AccessRow
}

/** One kind of caller. Build it with {@link callerKind}. */
export interface CallerKind<C> {
  /** Identifies the caller from headers and connection, before a body is received. Throws a DomainError otherwise. */
  identify(head: CallHead, method: CalledMethod): Promise<unknown>
  /** Completes the identity with what needs the body: a signature over its bytes, a claimed id. */
  verify(call: Call, identified: unknown, request: unknown): Promise<C>
}

export function callerKind<C>(identify: (head: CallHead, method: CalledMethod) => Promise<C>): CallerKind<C>
export function callerKind<I, C>(
  identify: (head: CallHead, method: CalledMethod) => Promise<I>,
  verify: (call: Call, identified: I, request: unknown) => Promise<C>,
): CallerKind<C>
export function callerKind<I, C>(
  identify: CallerKind<C>['identify'],
  verify?: (call: Call, identified: I, request: unknown) => Promise<C>,
): CallerKind<C> {
  return {
    identify,
    verify: async (call, identified, request) =>
      verify ? verify(call, identified as I, request) : (identified as unknown as C),
  }
}

export type CallerKinds<Callers> = { readonly [Kind in keyof Callers]: CallerKind<Callers[Kind]> }

/** `C` is the type of the caller. */
export type Handler<M extends DescMethod, C> = M['methodKind'] extends 'server_streaming'
  ? (request: MessageShape<M['input']>, call: Call, caller: C) => AsyncIterable<MessageInitShape<M['output']>>
  : (
      request: MessageShape<M['input']>,
      call: Call,
      caller: C,
    ) => MessageInitShape<M['output']> | Promise<MessageInitShape<M['output']>>

/** The row of a method gives its handler the type of its caller: `Callers` maps the kinds to types. */
export type ServiceHandlers<
  S extends DescService,
  Callers,
  Table extends AccessTable<S, keyof Callers & string> = AccessTable<S, keyof Callers & string>,
> = {
  readonly [K in keyof S['method']]: Handler<S['method'][K], Callers[Table[K]['caller']]>
}

/** A service as a listener takes it. Build it with {@link defineService}. */
export interface Service {
  readonly desc: DescService
  readonly access: Readonly<Record<string, AccessRow>>
  readonly callers: Readonly<Record<string, CallerKind<unknown>>>
  readonly handlers: Readonly<Record<string, unknown>>
  /** RPCs of Flower that this service does not serve, each with the refusal that says so. */
  readonly unserved?: UnservedCalls
}

/** By the name of the RPC, e.g. `ListApps`. */
export type UnservedCalls = Readonly<Record<string, () => DomainError>>

export function defineService<
  S extends DescService,
  Callers,
  Table extends AccessTable<S, keyof Callers & string> = AccessTable<S, keyof Callers & string>,
>(
  desc: S,
  service: Pick<Service, 'unserved'> & {
    access: Table
    callers: CallerKinds<Callers>
    handlers: ServiceHandlers<S, Callers, Table>
  },
): Service {
  return { ...service, desc } as Service
}
