import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { DeflatedMessage } from '../../src/message/deflate.ts'
import { routeOf } from '../../src/rpc/route.ts'

type Methods = typeof Fleet.method
type Handlers = {
  [K in keyof Methods]: (request: MessageShape<Methods[K]['input']>) => MessageInitShape<Methods[K]['output']>
}

export interface NextSuperlinkOptions {
  readonly fab: { readonly hash: string; readonly bytes: Uint8Array }
  readonly nodeId: bigint
  /** What no release does: messages are handed out again after they were confirmed. */
  readonly ignoresConfirmations?: boolean
  /** What a `PushMessages` response lists for a reply; nothing by default, as in 1.43. */
  readonly results?: Readonly<Record<string, number>>
}

interface Instruction extends DeflatedMessage {
  isConfirmed: boolean
}

/**
 * The Fleet API of a SuperLink that delivers messages as Flower 1.43 does: a pull returns the oldest message that was not
 * confirmed, at most one; a confirmation frees its objects; replies are not listed in `results`. It holds no calls. The test
 * hands in instructions and sees the calls that came.
 */
export class NextSuperlink implements AsyncDisposable {
  readonly calls: (keyof Methods)[] = []
  /** The instructions that replies were pushed for, in order. */
  readonly repliedTo: string[] = []
  /** Replies that are error messages. */
  readonly errors: string[] = []
  readonly #options: NextSuperlinkOptions
  readonly #instructions: Instruction[] = []
  readonly #server: Server

  private constructor(options: NextSuperlinkOptions) {
    this.#options = options
    this.#server = createServer(async (incoming, outgoing) => {
      const answer = this.#answer(incoming.url ?? '', await buffer(incoming))
      outgoing.writeHead(answer ? 200 : 404, { 'content-type': 'application/protobuf' }).end(answer)
    })
  }

  static async start(options: NextSuperlinkOptions): Promise<NextSuperlink> {
    const superlink = new NextSuperlink(options)
    superlink.#server.listen(0, '127.0.0.1')
    await once(superlink.#server, 'listening')
    return superlink
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  push(message: DeflatedMessage): void {
    this.#instructions.push({ ...message, isConfirmed: false })
  }

  isConfirmed(messageId: string): boolean {
    return this.#instructions.some((one) => one.messageId === messageId && one.isConfirmed)
  }

  count(method: keyof Methods): number {
    return this.calls.filter((call) => call === method).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #answer(url: string, body: Uint8Array): Uint8Array | undefined {
    for (const [name, method] of Object.entries(Fleet.method) as [keyof Methods, Methods[keyof Methods]][]) {
      if (url !== `/v1/${routeOf(method)}`) continue
      this.calls.push(name)
      const handle = this.#handlers[name] as (request: unknown) => object
      return toBinary(method.output, create(method.output, handle(fromBinary(method.input, body))))
    }
    return undefined
  }

  readonly #handlers: Handlers = {
    registerNode: () => ({ nodeId: this.#options.nodeId }),
    activateNode: () => ({ nodeId: this.#options.nodeId }),
    deactivateNode: () => ({}),
    unregisterNode: () => ({}),
    sendNodeHeartbeat: () => ({ success: true }),
    pullMessages: () => {
      const [next] = this.#instructions.filter((one) => !one.isConfirmed || this.#options.ignoresConfirmations)
      return next ? { messagesList: [next.wire], messageObjectTrees: [next.tree] } : {}
    },
    pullObject: ({ objectId }) => {
      const bytes = this.#instructions
        .find((one) => !one.isConfirmed && one.objects.has(objectId))
        ?.objects.get(objectId)
      return bytes ? { objectFound: true, objectAvailable: true, objectContent: bytes() } : {}
    },
    confirmMessageReceived: ({ messageObjectId }) => {
      for (const one of this.#instructions) if (one.messageId === messageObjectId) one.isConfirmed = true
      return {}
    },
    pushMessages: ({ messagesList, messageObjectTrees }) => {
      const [message] = messagesList
      const [tree] = messageObjectTrees
      this.repliedTo.push(message?.metadata?.replyToMessageId ?? '')
      if (message?.error) this.errors.push(message.error.reason)
      const { results = {} } = this.#options
      const isTaken = Object.keys(results).length === 0
      return { results, sessionId: 'session', objectsToPush: isTaken && tree ? [tree.objectId] : [] }
    },
    pushObject: () => ({ stored: true }),
    getRun: ({ runId }) => ({ run: { runId, fabHash: this.#options.fab.hash } }),
    getFab: () => ({ fab: { hashStr: this.#options.fab.hash, content: this.#options.fab.bytes } }),
  }
}
