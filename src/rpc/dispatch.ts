import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import type { Call, Service } from './call.ts'
import { routeOf } from './route.ts'

/** One RPC, ready to be called by a door: bytes in, bytes out. */
export interface Method {
  /** `/flwr.proto.Fleet/PullMessages` */
  readonly path: string
  /** `fleet/pull-messages`, as the HTTP generation names it. */
  readonly route: string
  readonly streams: boolean
  unary(call: Call): Promise<Uint8Array>
  stream(call: Call): AsyncIterable<Uint8Array>
}

type AnyHandler = (request: unknown, call: Call, caller: unknown) => unknown

/** Flattens services into their methods. The doors look them up by path or by route. */
export function methodsOf(services: readonly Service[]): Method[] {
  return services.flatMap((service) => [
    ...service.desc.methods.map((desc) => toMethod(service, desc, service.handlers[desc.localName] as AnyHandler)),
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

function toMethod(service: Service, desc: DescMethod, handler: AnyHandler): Method {
  const begin = async (call: Call): Promise<[unknown, unknown]> => {
    const request = decode(desc, call.requestBytes)
    return [request, await service.authenticate(call, desc.localName, request)]
  }
  const encode = (response: unknown): Uint8Array =>
    toBinary(desc.output, create(desc.output, response as MessageInitShape<typeof desc.output>))
  return {
    path: `/${service.desc.typeName}/${desc.name}`,
    route: routeOf(desc),
    streams: desc.methodKind === 'server_streaming',
    async unary(call) {
      const [request, caller] = await begin(call)
      return encode(await handler(request, call, caller))
    },
    async *stream(call) {
      const [request, caller] = await begin(call)
      for await (const response of handler(request, call, caller) as AsyncIterable<unknown>) yield encode(response)
    },
  }
}

function decode(desc: DescMethod, bytes: Uint8Array): unknown {
  try {
    return fromBinary(desc.input, bytes)
  } catch (cause) {
    throw new DomainError('invalid-payload', `Not a ${desc.input.typeName}`, { cause })
  }
}
