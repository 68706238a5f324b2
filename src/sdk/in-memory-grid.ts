import { setTimeout as delay } from 'node:timers/promises'
import { errorText } from '../base/errors.ts'
import { superlinkNodeId } from '../base/ids.ts'
import type { UserConfig } from '../base/user-config.ts'
import { type Context, createContext } from '../message/context.ts'
import { deflateMessage } from '../message/deflate.ts'
import { inflateMessage } from '../message/inflate.ts'
import { errorCodes, type Message } from '../message/message.ts'
import type { RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import type { ClientApp } from './client-app.ts'
import type { Grid, Progress } from './grid.ts'
import type { ServerApp } from './server-app.ts'

export interface InMemoryNode {
  readonly app: ClientApp
  /** As `--node-config` of a SuperNode. */
  readonly nodeConfig?: UserConfig
}

/**
 * A Grid whose nodes live in this process, for tests of apps: no SuperLink, no certificates, no waiting. Messages are
 * written and read as on the wire, and a node that throws replies with an error.
 *
 * @example
 * const nodes = [0n, 1n, 2n].map((partition) => ({ app: clientApp, nodeConfig: { partition } }))
 * const grid = new InMemoryGrid(nodes, { runConfig: { lr: 0.1 } })
 * const result = await new FedAvg().start(grid, initialArrays, { numRounds: 2 })
 */
export class InMemoryGrid implements Grid {
  readonly runId = 1n
  /** Everything that was reported, oldest first. */
  readonly progress: Progress[] = []
  /** The state that was saved last. */
  saved: RecordDict | undefined
  /** Everything that was sent, oldest first. */
  readonly sent: Message[] = []
  readonly #nodes: ReadonlyMap<bigint, { app: ClientApp; context: Context }>
  readonly #replies = new Map<string, Promise<Message>>()
  readonly #arrived = new Map<string, Message>()
  readonly #runConfig: UserConfig

  /** The nodes get the ids 2, 3, and so on. */
  constructor(nodes: readonly InMemoryNode[], options: { runConfig?: UserConfig } = {}) {
    const { runConfig = {} } = options
    this.#runConfig = runConfig
    this.#nodes = new Map(
      nodes.map(({ app, nodeConfig = {} }, index) => {
        const nodeId = superlinkNodeId + 1n + BigInt(index)
        const context = createContext({ runId: this.runId, nodeId, nodeConfig, runConfig })
        return [nodeId, { app, context }] as const
      }),
    )
  }

  /**
   * Runs a ServerApp on this grid, with the configuration of the run, to its end. Rejects with what the app throws. Returns
   * the app's context, whose state may be checked; give one to start from a state.
   *
   * @example
   * await grid.run(serverApp)
   * assert.equal(grid.progress.at(-1)?.phase, 'round-end')
   */
  async run(app: ServerApp, context: Context = createContext({ runConfig: this.#runConfig })): Promise<Context> {
    await app.run(this, context)
    return context
  }

  async getNodeIds(): Promise<bigint[]> {
    return [...this.#nodes.keys()]
  }

  async pushMessages(messages: Iterable<Message>): Promise<(string | undefined)[]> {
    return [...messages].map((message) => {
      const node = this.#nodes.get(message.metadata.dstNodeId)
      if (!node) return undefined
      const arrived = overTheWire(message, { runId: this.runId, srcNodeId: superlinkNodeId })
      const { messageId } = arrived.metadata
      this.sent.push(arrived)
      const reply = answer(node.app, arrived, node.context)
      this.#replies.set(messageId, reply)
      void reply.then((message) => this.#arrived.set(messageId, message))
      return messageId
    })
  }

  async pullMessages(
    messageIds: Iterable<string> = this.#replies.keys(),
    options: { waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<Message[]> {
    const ids = [...messageIds]
    const open = ids.flatMap((id) => this.#replies.get(id) ?? [])
    if (options.waitMs && open.length > 0) await settledWithin(Promise.race(open), options.waitMs, options.signal)
    return this.#take(ids)
  }

  async sendAndReceive(messages: Iterable<Message>, options: { timeoutSeconds?: number } = {}): Promise<Message[]> {
    const ids = (await this.pushMessages(messages)).filter((id) => id !== undefined)
    const all = Promise.all(ids.map((id) => this.#replies.get(id)))
    if (options.timeoutSeconds === undefined) await all
    else await settledWithin(all, options.timeoutSeconds * 1000)
    return this.#take(ids)
  }

  /** A later test can start from `saved`. */
  async saveState(context: Context): Promise<void> {
    this.saved = contextFromWire(contextToWire(context)).state
  }

  reportProgress(progress: Progress): void {
    this.progress.push(progress)
  }

  /** Each reply is handed out once. */
  #take(ids: readonly string[]): Message[] {
    const taken: Message[] = []
    for (const id of ids) {
      const reply = this.#arrived.get(id)
      if (!reply) continue
      taken.push(reply)
      this.#arrived.delete(id)
      this.#replies.delete(id)
    }
    return taken
  }
}

/** The message as its receiver would have it. */
function overTheWire(message: Message, metadata: Partial<Message['metadata']> = {}): Message {
  const { messageId, objects } = deflateMessage(message, { ...message.metadata, ...metadata })
  return inflateMessage(messageId, (id) => (objects.get(id) as () => Uint8Array)())
}

async function answer(app: ClientApp, message: Message, context: Context): Promise<Message> {
  try {
    return overTheWire(await app.handle(message, context))
  } catch (error) {
    return overTheWire(message.replyError({ code: errorCodes.clientAppRaisedException, reason: errorText(error) }))
  }
}

async function settledWithin(work: Promise<unknown>, ms: number, signal?: AbortSignal): Promise<void> {
  const done = new AbortController()
  const timeout = delay(ms, undefined, { signal: AbortSignal.any(signal ? [signal, done.signal] : [done.signal]) })
  try {
    await Promise.race([work, timeout])
  } finally {
    done.abort()
    timeout.catch(() => {})
  }
}
