import type { DescMethod, DescService, MessageInitShape } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { type BodyBounds, limits } from '../base/limits.ts'
import { takeTurns } from '../base/turns.ts'
import type { JudgeArrived } from './arriving-bytes.ts'
import { scanBody } from './body-scan.ts'
import { type Call, type CallHead, type IncomingCall, ReceivedCall } from './call.ts'
import type { ContentPlace } from './content-cut.ts'
import { createInTurns } from './create-in-turns.ts'
import { decodeInTurns } from './decode-in-turns.ts'
import type { Drain, ServedCall } from './drain.ts'
import { encodeInTurns, lengthOf } from './encode-in-turns.ts'
import type { Interceptor } from './interceptor.ts'
import { attachReceived, cutObject } from './object-content.ts'
import { contentOf, followedBy, type Outgoing } from './outgoing.ts'
import { routeOf } from './route.ts'
import type { CalledMethod, CallerKind, Service } from './service.ts'

/**
 * The steps of every call, in one place: head, caller, body within the limit of its method, request, verified caller,
 * owner, handler, response. Interceptors see each step. Knows nothing of sockets: doors hand over calls.
 */

/** One RPC, ready to be called by a door: bytes in, bytes out. */
export interface Method {
  /** `/flwr.proto.Fleet/PullMessages` */
  readonly path: string
  /** `fleet/pull-messages`, as the HTTP generation names it. */
  readonly route: string
  readonly streams: boolean
  unary(incoming: IncomingCall): Promise<Outgoing>
  stream(incoming: IncomingCall): AsyncIterable<Outgoing>
}

type AnyHandler = (request: unknown, call: Call, caller: unknown, owned: unknown) => unknown
type AnyOwnerRule = (caller: unknown, request: unknown) => Promise<unknown>

/** What the handler is called with. */
interface Begun {
  readonly call: Call
  readonly caller: unknown
  readonly request: unknown
  readonly owned: unknown
}

/** Flattens services into their methods. The doors look them up by path or by route. */
export function methodsOf(
  services: readonly Service[],
  interceptors: readonly Interceptor[] = [],
  drain?: Drain,
): Method[] {
  return services.flatMap((service) => [
    ...service.desc.methods.map((desc) => toMethod(service, desc, { interceptors, drain })),
    ...Object.entries(service.unserved ?? {}).map(([name, refusal]) => toRefusal(service.desc, name, refusal)),
  ])
}

function toRefusal(parent: DescService, name: string, refusal: () => DomainError): Method {
  const refuse = (): never => {
    throw refusal()
  }
  const path = `/${parent.typeName}/${name}`
  return { path, route: routeOf({ parent, name }), streams: false, unary: async () => refuse(), stream: refuse }
}

function toMethod(
  service: Service,
  desc: DescMethod,
  { interceptors, drain }: { readonly interceptors: readonly Interceptor[]; readonly drain: Drain | undefined },
): Method {
  const handler = service.handlers[desc.localName] as AnyHandler
  const row = service.access[desc.localName]
  const kind: CallerKind<unknown> | undefined = row && service.callers[row.caller]
  const owner = row && (service.owners?.[row.of] as AnyOwnerRule | undefined)
  if (!handler || !row || !kind || (!owner && row.of !== 'caller'))
    throw new Error(`${desc.parent.typeName}/${desc.name} is not in the access table`)
  const method: CalledMethod = { service: service.desc.typeName, name: desc.localName, row }
  const takesFiles = service.files !== undefined && desc.input.field.objectContent !== undefined

  /** Everything before the handler: a caller that may not call is refused before its body is received. */
  async function begin(
    incoming: IncomingCall,
    served: ServedCall | undefined,
    files?: AsyncDisposableStack,
  ): Promise<Begun> {
    const { head } = incoming
    for (const interceptor of interceptors) interceptor.onHead?.(head, method)
    const identified = await (kind as CallerKind<unknown>).identify(head, method)
    for (const interceptor of interceptors) interceptor.onCaller?.(head, method, identified)
    const bounds = limits.bodies[method.row.body]
    const cut = files && cutObject(desc.input, (before) => placeFor(head, identified, before))
    if (cut) files.use(cut)
    const judge: JudgeArrived = (arrived, length) => scanBody(desc.input, arrived, bounds, length)
    const requestBytes = await incoming.receive(bounds.bytesMax, { cut, judge })
    const request = await decode(desc, requestBytes, bounds)
    attachReceived(request as object, cut)
    const call = new ReceivedCall(head, requestBytes, served)
    const caller = await (kind as CallerKind<unknown>).verify(call, identified, request)
    const owned = await owner?.(caller, request)
    // The caller was refused when its content came, and is not any more.
    if (cut?.isDiscarded && owned !== false)
      throw new DomainError('unavailable', 'The object could not be taken when it came. Send it again.')
    for (const interceptor of interceptors) await interceptor.onRequest?.(head, method, caller, request)
    return { call, caller, request, owned }
  }

  /** A large object goes to the disk only if its sender may send it. One that comes before its id stays in memory. */
  async function placeFor(head: CallHead, identified: unknown, fieldsBefore: Uint8Array): Promise<ContentPlace> {
    const request = await decode(desc, fieldsBefore, limits.bodies[method.row.body])
    if (!(request as { readonly objectId?: string }).objectId || !service.files) return 'keep'
    return (await maySend(new ReceivedCall(head, fieldsBefore), identified, request))
      ? ((await service.files.openFile()) ?? 'keep')
      : 'discard'
  }

  /** The client of Flower reads no refusal before it has sent its whole body: `begin` refuses the call then. */
  async function maySend(call: Call, identified: unknown, request: unknown): Promise<boolean> {
    try {
      const caller = await (kind as CallerKind<unknown>).verify(call, identified, request)
      return (await owner?.(caller, request)) !== false
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
      return false
    }
  }

  const encode = async (response: unknown): Promise<Outgoing> => {
    const message = await createInTurns(desc.output, response as MessageInitShape<typeof desc.output>)
    const encoded = await encodeInTurns(desc.output, message)
    const content = contentOf(response)
    return content ? followedBy(encoded, desc.output, content) : encoded
  }

  return {
    path: `/${service.desc.typeName}/${desc.name}`,
    route: routeOf(desc),
    streams: desc.methodKind === 'server_streaming',
    async unary(incoming) {
      using served = drain?.enter(desc.name)
      await using files = takesFiles ? new AsyncDisposableStack() : undefined
      let step: 'before' | 'handler' = 'before'
      try {
        const { call, caller, request, owned } = await begin(incoming, served, files)
        step = 'handler'
        const response = await handler(request, call, caller, owned)
        const encoded = await encode(response)
        const result = { request, response, requestBytes: call.requestBytes.length, bytes: lengthOf(encoded) }
        for (const interceptor of interceptors) interceptor.onResponse?.(incoming.head, method, result)
        return encoded
      } catch (error) {
        for (const interceptor of interceptors) interceptor.onError?.(incoming.head, method, error, step)
        throw error
      }
    },
    async *stream(incoming) {
      using served = drain?.enter(desc.name)
      let step: 'before' | 'handler' = 'before'
      try {
        const { call, caller, request, owned } = await begin(incoming, served)
        step = 'handler'
        for await (const response of handler(request, call, caller, owned) as AsyncIterable<unknown>)
          yield await encode(response)
        // Otherwise the client would take this end for the end of what it follows.
        if (drain?.hasBegun) throw new DomainError('unavailable', 'The server is about to end. Call again.')
      } catch (error) {
        for (const interceptor of interceptors) interceptor.onError?.(incoming.head, method, error, step)
        throw error
      }
    },
  }
}

async function decode(desc: DescMethod, bytes: Uint8Array, bounds: BodyBounds): Promise<unknown> {
  // The scan of a large body takes a turn by itself.
  const turn = takeTurns()
  scanBody(desc.input, bytes, bounds)
  try {
    return await decodeInTurns(desc.input, bytes, turn)
  } catch (cause) {
    throw new DomainError('invalid-payload', `Not a ${desc.input.typeName}`, { cause })
  }
}
