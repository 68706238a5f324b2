import type {
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import { limits } from '../base/limits.ts'
import { flowerHttpVersion, flowerRuntimeReleases, isRelease } from '../base/version.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'
import { awaitConnection } from './await-connection.ts'
import { decodeResponse, encodeRequest } from './call-messages.ts'
import { type ChannelTls, dial } from './dial.ts'
import { openGrpcTransport } from './grpc-transport.ts'
import { openHttpTransport } from './http-transport.ts'
import { attachReceived, type ContentTaker, cutResponse } from './object-content.ts'
import { httpPath, restPath, routeOf } from './route.ts'
import { RpcError } from './rpc-error.ts'
import type { OutgoingCall, Transport } from './transport.ts'

export { RpcError } from './rpc-error.ts'

export interface ChannelOptions {
  readonly address: string
  readonly tls: ChannelTls
  /** `auto`: what the server picks by ALPN; on plain connections HTTP/2 is tried first. `rest`: see `route.ts`. */
  readonly transport?: 'auto' | 'grpc' | 'http' | 'rest'
  /** The name that the program gives itself, e.g. `SuperNode`. */
  readonly component: string
  /** How long a server that has agreed on HTTP/2 may take to begin to speak it. Shorter in tests. */
  readonly http2SettingsMs?: number
  /** Sent with every call; a function is asked at each. */
  readonly headers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>)
}

export interface CallOptions extends ContentTaker {
  readonly signal?: AbortSignal | undefined
  /** How long the call waits for a connection, and then for its response. */
  readonly timeoutMs?: number | undefined
  /** How long the server may hold the call when it has nothing yet. */
  readonly waitMs?: number | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly binaryHeaders?: Readonly<Record<string, Uint8Array>>
  /** Whether the server accepts these headers only once, because they are signed with a nonce. */
  readonly isAcceptedOnce?: boolean
}

/**
 * Calls to one server over one wire, decided at the first connection. A broken connection is opened again by the next
 * call. Replaced TLS material gets a new connection: once that stands, new calls go over it, and the old one ends with the
 * calls that it carries.
 */
export class Channel {
  readonly address: Address
  readonly #options: ChannelOptions
  readonly #replaced: Disposable | undefined
  readonly #version: Readonly<Record<string, string>>
  #transport: Promise<Transport> | undefined
  /** How often the TLS material was replaced: of several new connections only the last counts. */
  #replacements = 0
  readonly #retired = new WeakSet<Transport>()
  #silentAboutVersion = false
  #closed = false

  constructor(options: ChannelOptions) {
    this.#options = options
    this.#version = {
      'flwr-package-name': 'flwr',
      'flwr-package-version': flowerHttpVersion,
      'flwr-component-name': options.component,
    }
    this.address = parseAddress(options.address, 'The server address')
    this.#replaced = options.tls === 'insecure' ? undefined : options.tls.subscribe(() => this.#replace())
  }

  /** Whether the answer was held is told in `waited`: then the next call may follow at once. */
  async call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<{ message: MessageShape<O>; waited: boolean }> {
    for (let tries = 1; ; tries++) {
      const transport = await awaitConnection(this.#usable(), this.address, options)
      const outgoing = this.#outgoing(method, request, options)
      try {
        const { body, waited } = await transport.unary(outgoing)
        const message = decodeResponse(method, body) as MessageShape<O>
        attachReceived(message, outgoing.cut)
        return { message, waited }
      } catch (error) {
        await outgoing.cut?.[Symbol.asyncDispose]()
        if (isUntaken(error) && tries < triesMax) continue
        if (this.#silentAboutVersion || !isReleaseOfSameWire(error)) throw this.#seenFromNow(error, transport)
        this.#silentAboutVersion = true
      }
    }
  }

  async *stream<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>> {
    for (let tries = 1; ; tries++) {
      const transport = await awaitConnection(this.#usable(), this.address, options)
      try {
        for await (const body of transport.stream(this.#outgoing(method, request, options))) {
          yield decodeResponse(method, body) as MessageShape<O>
        }
        return
      } catch (error) {
        if (isUntaken(error) && tries < triesMax) continue
        throw this.#seenFromNow(error, transport)
      }
    }
  }

  /** The next call opens a connection of its own: this one may be dead without knowing it. */
  reconnect(): void {
    this.#forget()
  }

  close(): void {
    this.#closed = true
    this.#replaced?.[Symbol.dispose]()
    this.#forget()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** A new connection that cannot be made, e.g. for roots that do not fit the server, leaves the old one where it is. */
  #replace(): void {
    const replacement = ++this.#replacements
    if (!this.#transport) return
    const opening = openTransport(this.address, this.#options)
    const moveOver = async (): Promise<void> => {
      const transport = await opening
      if (this.#closed || replacement !== this.#replacements) return transport.close()
      const old = await this.#transport?.catch(() => undefined)
      this.#transport = opening
      if (!old) return
      this.#retired.add(old)
      old.retire()
    }
    moveOver().catch(() => {})
  }

  /** What the server has against a certificate that was replaced since is no reason to give up. */
  #seenFromNow(error: unknown, transport: Transport): unknown {
    if (!(error instanceof RpcError) || error.refusalReason === undefined || !this.#retired.has(transport)) return error
    const sentence = 'The connection with the former certificate has ended.'
    return new RpcError('unavailable', sentence, { kind: 'replaced', cause: error })
  }

  #forget(): void {
    this.#transport?.then(
      (transport) => transport.close(),
      () => {},
    )
    this.#transport = undefined
  }

  /** Looks again after waiting, with nothing awaited before its use: it may have been retired meanwhile. */
  async #usable(): Promise<Transport> {
    let transport = await this.#opened()
    for (let looks = 0; !transport.usable && looks < 3; looks++) transport = await this.#opened()
    return transport
  }

  async #opened(): Promise<Transport> {
    if (this.#closed)
      throw new RpcError('unavailable', 'The channel is closed.', { kind: 'protocol', failure: 'closed' })
    const current = this.#transport
    if (current) {
      const transport = await current
      if (transport.usable) return transport
      if (this.#transport === current) this.#transport = undefined
    }
    this.#transport ??= this.#open()
    return this.#transport
  }

  #open(): Promise<Transport> {
    const opening = openTransport(this.address, this.#options)
    opening.catch(() => {
      if (this.#transport === opening) this.#transport = undefined
    })
    return opening
  }

  #outgoing(method: DescMethod, request: unknown, options: CallOptions): OutgoingCall {
    const { headers: ownHeaders, transport } = this.#options
    const pathOf = transport === 'rest' ? restPath : httpPath
    const path = `/${method.parent.typeName}/${method.name}`
    return {
      path,
      route: pathOf(routeOf(method)),
      body: encodeRequest(method, request),
      headers: {
        ...(this.#silentAboutVersion ? {} : this.#version),
        ...(typeof ownHeaders === 'function' ? ownHeaders() : ownHeaders),
        ...(options.waitMs === undefined ? {} : { 'trellis-wait-ms': String(Math.round(options.waitMs)) }),
        ...options.headers,
      },
      binaryHeaders: options.binaryHeaders ?? {},
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      cut: cutResponse(method.output, options),
      isRepeatable: !onceOnlyPaths.has(path),
      isAcceptedOnce: options.isAcceptedOnce ?? false,
    }
  }
}

export function createChannel(options: ChannelOptions): Channel {
  return new Channel(options)
}

/** A service's methods as functions: unary ones answer the message alone. */
export type Client<S extends DescService> = {
  readonly [K in keyof S['method']]: S['method'][K] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S['method'][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : never
}

export function createClient<S extends DescService>(service: S, channel: Channel): Client<S> {
  const methods = service.methods.map((method) => [
    method.localName,
    method.methodKind === 'server_streaming'
      ? (request: never, options?: CallOptions) => channel.stream(method as DescMethodServerStreaming, request, options)
      : async (request: never, options?: CallOptions) =>
          (await channel.call(method as DescMethodUnary, request, options)).message,
  ])
  return Object.fromEntries(methods) as Client<S>
}

/** Over how many connections a call is tried that none has taken. */
const triesMax = 3

function isUntaken(error: unknown): boolean {
  return error instanceof RpcError && error.kind === 'untaken'
}

/**
 * Flower's Runtime API wants callers of its own minor release, or such that do not say theirs. These releases speak as the
 * one that we name; of any other, its refusal names both versions.
 */
function isReleaseOfSameWire(error: unknown): boolean {
  if (!(error instanceof RpcError) || error.number !== versionMismatch) return false
  // The server names itself first.
  const [, release = ''] = /version (\d+\.\d+)\./.exec(error.message) ?? []
  return isRelease(release, flowerRuntimeReleases)
}

/** Flower's number of that refusal. */
const versionMismatch = 1001

async function openTransport(address: Address, options: ChannelOptions): Promise<Transport> {
  const { tls, transport = 'auto' } = options
  const where = formatAddress(address)
  if (transport === 'http' || transport === 'rest') return openHttpTransport(address, tls)
  const { socket, alpn } = await dial(address, tls, transport === 'grpc' ? ['h2'] : ['h2', 'http/1.1'])
  const settingsMs = options.http2SettingsMs ?? limits.http2SettingsMs
  if (transport === 'grpc' || alpn === 'h2') return openGrpcTransport(socket, where, settingsMs)
  if (tls !== 'insecure') {
    socket.destroy()
    return openHttpTransport(address, tls)
  }
  try {
    return await openGrpcTransport(socket, where, Math.min(settingsMs, plainSettingsMs))
  } catch (error) {
    // A server that says something else has decided. One that says nothing may be busy: HTTP/1.1 is a guess then.
    const isGuess = !(error instanceof RpcError && error.failure === 'not-grpc')
    return openHttpTransport(address, tls, isGuess)
  }
}

/** How long a server in clear may take to speak HTTP/2 before HTTP/1.1 is tried. */
const plainSettingsMs = 5000

/** Methods with an effect that a repetition would have twice, and that no caller makes again by itself. */
export const onceOnlyPaths: ReadonlySet<string> = new Set([
  '/flwr.proto.Control/StartRun',
  '/flwr.proto.Control/CreateFederation',
  '/flwr.proto.Control/CreateInvitation',
])
