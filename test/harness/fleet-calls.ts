import { create, toBinary } from '@bufbuild/protobuf'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { Call, CallHead, IncomingCall } from '../../src/rpc/call.ts'
import { methodsOf } from '../../src/rpc/dispatch.ts'
import { Drain } from '../../src/rpc/drain.ts'
import type { Interceptor } from '../../src/rpc/interceptor.ts'
import { callerKind, defineService, type Service } from '../../src/rpc/service.ts'

type FleetMethod = keyof typeof Fleet.method

/**
 * Calls of a Fleet API, as a listener makes them, whose handlers only respond or fail: for what watches calls. `caller` is what
 * their callers are found to be.
 */
export function fleetCalls(
  interceptors: readonly Interceptor[],
  {
    caller,
    handle = () => {},
  }: { readonly caller?: unknown; readonly handle?: (name: FleetMethod, call: Call) => unknown } = {},
): (name: FleetMethod, signal?: AbortSignal) => Promise<unknown> {
  const names = Object.keys(Fleet.method) as FleetMethod[]
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'small' } as const
  const service: Service = defineService<typeof Fleet, { anyone: unknown }>(Fleet, {
    access: Object.fromEntries(names.map((name) => [name, row])) as never,
    callers: {
      anyone: callerKind(
        async () => caller,
        async () => caller,
      ),
    },
    handlers: Object.fromEntries(
      names.map((name) => [
        name,
        async (_request: unknown, call: Call) => {
          // As a handler that waits, which asks for the signal of its call.
          call.signal.throwIfAborted()
          await handle(name, call)
          return {}
        },
      ]),
    ) as never,
  })
  const methods = new Map(methodsOf([service], interceptors, new Drain()).map((method) => [method.path, method]))
  return async (name, signal = new AbortController().signal) => {
    const path = `/${Fleet.typeName}/${Fleet.method[name].name}`
    const { input } = Fleet.method[name]
    const head = { method: path, signal } as CallHead
    const incoming: IncomingCall = { head, receive: async () => toBinary(input, create(input)) }
    return methods.get(path)?.unary(incoming)
  }
}
