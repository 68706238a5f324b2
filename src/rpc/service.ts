import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { DomainError } from '../base/errors.ts'
import type { BodyClass } from '../base/limits.ts'
import type { Call, CallHead } from './call.ts'
import type { FileMaker } from './object-content.ts'

/** What the access table says of a method: its caller, what it is about, whether it changes state, how large its body may be. */
export interface AccessRow<Kind extends string = string, Of extends string = string> {
  readonly caller: Kind
  /** Names the owner rule that a request must pass; `caller`: it is about nothing but what belongs to the caller. */
  readonly of: Of | 'caller'
  /** Written to the audit log when it succeeds. */
  readonly changes: boolean
  readonly body: BodyClass
}

/** A row for each method of a service: a new method without a row does not compile. */
export type AccessTable<S extends DescService, Kind extends string, Of extends string = string> = Readonly<
  Record<keyof S['method'], AccessRow<Kind, Of>>
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

/**
 * An owner rule: whether what a request names belongs to the caller. Returns what it found, for the handler, or throws.
 * Callers learn nothing about what belongs to others: unless a rule says otherwise it is as if it did not exist.
 */
export type OwnerRules<Owners> = {
  readonly [Of in keyof Owners]: (caller: never, request: never) => Promise<Owners[Of]>
}

/** `C` is the type of the caller, `O` of what the owner rule found. */
export type Handler<M extends DescMethod, C, O = undefined> = M['methodKind'] extends 'server_streaming'
  ? (request: MessageShape<M['input']>, call: Call, caller: C, owned: O) => AsyncIterable<MessageInitShape<M['output']>>
  : (
      request: MessageShape<M['input']>,
      call: Call,
      caller: C,
      owned: O,
    ) => MessageInitShape<M['output']> | Promise<MessageInitShape<M['output']>>

/**
 * The row of a method gives its handler the types of its caller and of what the owner rule found: `Callers` and `Owners`
 * map the names of the table to types.
 */
export type ServiceHandlers<
  S extends DescService,
  Callers,
  Table extends AccessTable<S, keyof Callers & string> = AccessTable<S, keyof Callers & string>,
  Owners = unknown,
> = {
  readonly [K in keyof S['method']]: Handler<
    S['method'][K],
    Callers[Table[K]['caller']],
    Table[K]['of'] extends keyof Owners ? Owners[Table[K]['of']] : undefined
  >
}

/** A service as a listener takes it. Build it with {@link defineService}. */
export interface Service {
  readonly desc: DescService
  readonly access: Readonly<Record<string, AccessRow>>
  readonly callers: Readonly<Record<string, CallerKind<unknown>>>
  readonly owners?: OwnerRules<Record<string, unknown>>
  readonly handlers: Readonly<Record<string, unknown>>
  /** RPCs of Flower that this service does not serve, each with the refusal that says so. */
  readonly unserved?: UnservedCalls
  /** For large objects that arrive with a request. Without it, objects arrive in memory. */
  readonly files?: FileMaker | undefined
}

/** By the name of the RPC, e.g. `ListApps`. */
export type UnservedCalls = Readonly<Record<string, () => DomainError>>

export function defineService<
  S extends DescService,
  Callers,
  Table extends AccessTable<S, keyof Callers & string> = AccessTable<S, keyof Callers & string>,
  Owners = unknown,
>(
  desc: S,
  service: Pick<Service, 'unserved' | 'files'> & {
    access: Table
    callers: CallerKinds<Callers>
    /** A rule for each name in the `of` column, but for `caller`. */
    owners?: OwnerRules<Owners>
    handlers: ServiceHandlers<S, Callers, Table, Owners>
  },
): Service {
  return { ...service, desc } as Service
}
