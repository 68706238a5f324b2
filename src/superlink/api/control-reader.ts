import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { Connection, IncomingCall } from '../../rpc/call.ts'
import type { Client } from '../../rpc/channel.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import { type Method, methodsOf } from '../../rpc/dispatch.ts'
import type { Drain } from '../../rpc/drain.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'
import { closeContents, type Outgoing, piecesOf } from '../../rpc/outgoing.ts'
import type { Service } from '../../rpc/service.ts'

/** The calls of the Control API that a wall screen makes. None of them changes anything. */
const reads = ['listNodes', 'listRuns', 'showSecurity', 'showRunNodes', 'streamRunEvents', 'streamLogs'] as const
export type ControlReader = Pick<Client<typeof Control>, (typeof reads)[number]>

/**
 * Calls the Control API within this process, with every step of a call: a reader gets what `flwr` gets over the same connection,
 * and refusals are in the audit log.
 */
export function createControlReaders(
  control: Service,
  interceptors: readonly Interceptor[],
  drain: Drain,
): (connection: Connection, signal: AbortSignal) => ControlReader {
  const methods = new Map(methodsOf([control], interceptors, drain).map((method) => [method.path, method]))
  return (connection, signal) =>
    Object.fromEntries(
      reads.map((name) => {
        const desc: DescMethod = Control.method[name]
        const method = methods.get(`/${Control.typeName}/${desc.name}`) as Method
        const incoming = (request: object, options?: { signal?: AbortSignal }): IncomingCall =>
          incomingCall(desc, request, { connection, signal: options?.signal ?? signal, path: method.path })
        const read = async (encoded: Outgoing) => decodeInTurns(desc.output, await joined(encoded))
        const unary = async (request: object) => read(await method.unary(incoming(request)))
        async function* stream(request: object, options?: { signal?: AbortSignal }) {
          for await (const encoded of method.stream(incoming(request, options))) yield read(encoded)
        }
        return [name, method.streams ? stream : unary]
      }),
    ) as unknown as ControlReader
}

function incomingCall(
  { input }: DescMethod,
  request: object,
  { connection, signal, path }: { connection: Connection; signal: AbortSignal; path: string },
): IncomingCall {
  const body = toBinary(input, create(input, request as MessageInitShape<typeof input>))
  const head = {
    ...{ method: path, connection, signal, waitMs: undefined },
    header: () => [],
    binaryHeader: () => [],
    makeRoom: () => undefined,
  }
  return { head, receive: async () => body }
}

async function joined(parts: Outgoing): Promise<Uint8Array> {
  try {
    const pieces: Uint8Array[] = []
    for (const read of piecesOf(parts)) pieces.push(await read())
    return Buffer.concat(pieces)
  } finally {
    await closeContents(parts)
  }
}
