import type { DescMethod, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { fromBinary } from '@bufbuild/protobuf'
import { DomainError } from '../../src/base/errors.ts'
import type { CallHead, Connection, IncomingCall } from '../../src/rpc/call.ts'
import { encodeRequest } from '../../src/rpc/call-messages.ts'
import { type Method, methodsOf } from '../../src/rpc/dispatch.ts'
import type { Interceptor } from '../../src/rpc/interceptor.ts'
import { closeContents, type Outgoing, piecesOf } from '../../src/rpc/outgoing.ts'
import type { Service } from '../../src/rpc/service.ts'
import { openConnection } from './superlink-core.ts'

export interface InMemoryCall {
  readonly headers?: Readonly<Record<string, string>>
  readonly binaryHeaders?: Readonly<Record<string, Uint8Array>>
  readonly waitMs?: number
  readonly signal?: AbortSignal
}

/**
 * Calls the handlers of services as a door does, without sockets: with the head, the body as bytes, and every step of a
 * call. Refusals are the DomainErrors themselves.
 */
export class InMemoryClient {
  readonly #methods: ReadonlyMap<string, Method>
  readonly connection: Connection
  readonly #headers: Readonly<Record<string, string>>

  constructor(
    services: readonly Service[],
    options: {
      connection?: Connection
      headers?: Readonly<Record<string, string>>
      interceptors?: readonly Interceptor[]
    } = {},
  ) {
    this.#methods = new Map(methodsOf(services, options.interceptors).map((method) => [method.path, method]))
    this.connection = options.connection ?? openConnection().connection
    this.#headers = options.headers ?? {}
  }

  async call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: InMemoryCall = {},
  ): Promise<MessageShape<O>> {
    const { handler, incoming } = this.#incoming(method, request, options)
    return fromBinary(method.output, await joined(await handler.unary(incoming)))
  }

  /** The responses of a streaming method. */
  async *stream<M extends DescMethod>(
    method: M,
    request: MessageInitShape<M['input']>,
    options: InMemoryCall = {},
  ): AsyncGenerator<MessageShape<M['output']>> {
    const { handler, incoming } = this.#incoming(method, request, options)
    for await (const encoded of handler.stream(incoming))
      yield fromBinary(method.output, await joined(encoded)) as MessageShape<M['output']>
  }

  #incoming(method: DescMethod, request: unknown, options: InMemoryCall): { handler: Method; incoming: IncomingCall } {
    const path = `/${method.parent.typeName}/${method.name}`
    const handler = this.#methods.get(path)
    if (!handler) throw new Error(`No service has the method ${path}`)
    const parts = encodeRequest(method, request)
    const headers: Readonly<Record<string, string>> = { ...this.#headers, ...options.headers }
    const head: CallHead = {
      method: path,
      connection: this.connection,
      signal: options.signal ?? new AbortController().signal,
      waitMs: options.waitMs,
      header: (name) => (headers[name] === undefined ? [] : [headers[name]]),
      binaryHeader: (name) => {
        const value = options.binaryHeaders?.[name]
        return value === undefined ? [] : [value]
      },
      makeRoom: () => undefined,
    }
    const receive = async (bytesMax: number): Promise<Uint8Array> => {
      const body = await joined(parts)
      if (body.length <= bytesMax) return body
      throw new DomainError('message-too-large', `The message has ${body.length} bytes; at most ${bytesMax} are taken.`)
    }
    return { handler, incoming: { head, receive } }
  }
}

async function joined(parts: Outgoing): Promise<Uint8Array> {
  try {
    return Buffer.concat(await Promise.all([...piecesOf(parts)].map((read) => read())))
  } finally {
    await closeContents(parts)
  }
}
