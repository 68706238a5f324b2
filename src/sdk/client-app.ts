import type { Context } from '../message/context.ts'
import { Message } from '../message/message.ts'
import { splitMessageType } from '../message/message-type.ts'
import { type Lifespan, withinLifespan } from './lifespan.ts'

/** Returns the reply to a message, made with `message.reply(…)`. What it throws becomes an error reply. */
export type ClientFn = (message: Message, context: Context) => Promise<Message> | Message

/**
 * Wraps the handling of messages: may look at or replace the message on its way in and the reply on its way out, or not
 * call `next` at all.
 *
 * @example
 * const timed: Mod = async (message, context, next) => {
 *   const startedAt = performance.now()
 *   const reply = await next(message, context)
 *   log.info(`took ${performance.now() - startedAt} ms`)
 *   return reply
 * }
 */
export type Mod = (message: Message, context: Context, next: ClientFn) => Promise<Message> | Message

type Category = 'train' | 'evaluate' | 'query'
interface HandlerOptions {
  readonly mods?: readonly Mod[]
}

/**
 * The side of an app that runs at the data: one function for each kind of message.
 *
 * @example
 * export const app = new ClientApp()
 *   .train(async (message, context) => {
 *     const { arrays, metrics } = await trainOn(context.nodeConfig, message.content.arrays('arrays'))
 *     return message.reply(new RecordDict({ arrays, metrics }))
 *   })
 *   .evaluate(evaluateModel)
 *   .query('hardware', (message) => message.reply(new RecordDict({ facts: new ConfigRecord({ cores: 2 }) })))
 */
export class ClientApp {
  readonly #mods: readonly Mod[]
  readonly #handlers = new Map<string, ClientFn>()
  #lifespan: Lifespan | undefined

  /** `mods` wrap every function, the first one outermost; mods of a function come inside of them. */
  constructor(options: { mods?: readonly Mod[] } = {}) {
    this.#mods = options.mods ?? []
  }

  train(fn: ClientFn, options?: HandlerOptions): this
  /** Handles messages of type `train.ACTION`. */
  train(action: string, fn: ClientFn, options?: HandlerOptions): this
  train(...args: readonly unknown[]): this {
    return this.#register('train', args)
  }

  evaluate(fn: ClientFn, options?: HandlerOptions): this
  evaluate(action: string, fn: ClientFn, options?: HandlerOptions): this
  evaluate(...args: readonly unknown[]): this {
    return this.#register('evaluate', args)
  }

  query(fn: ClientFn, options?: HandlerOptions): this
  query(action: string, fn: ClientFn, options?: HandlerOptions): this
  query(...args: readonly unknown[]): this {
    return this.#register('query', args)
  }

  /**
   * Sets what runs before and after each message, outside of the mods. Throws if that was set already.
   *
   * @example
   * app.lifespan(async function* () {
   *   const camera = await openCamera()
   *   yield
   *   await camera.close()
   * })
   */
  lifespan(fn: Lifespan): this {
    if (this.#lifespan) throw new Error('This ClientApp has a lifespan function already.')
    this.#lifespan = fn
    return this
  }

  /** @internal Hands the message to its function, through the mods. */
  handle(message: Message, context: Context): Promise<Message> {
    return withinLifespan(this.#lifespan, context, () => this.#handle(message, context))
  }

  async #handle(message: Message, context: Context): Promise<Message> {
    const { category, action } = splitMessageType(message.metadata.messageType)
    const handler = this.#handlers.get(`${category}.${action}`)
    if (!handler) throw new Error(`No ${category} function registered with name '${action}'`)
    const reply: unknown = await throughMods(this.#mods, handler)(message, context)
    if (reply instanceof Message) return reply
    throw new TypeError(`The ${category} function did not return a reply: it must return message.reply(…).`)
  }

  #register(category: Category, args: readonly unknown[]): this {
    const [action, fn, options] = (typeof args[0] === 'string' ? args : ['default', ...args]) as Registration
    if (!/^[\p{L}_][\p{L}\p{N}_]*$/u.test(action))
      throw new Error(`The action '${action}' is not an identifier: use letters, digits and underscores.`)
    const name = `${category}.${action}`
    if (this.#handlers.has(name)) throw new Error(`There is a ${category} function with name '${action}' already.`)
    this.#handlers.set(name, throughMods(options?.mods ?? [], fn))
    return this
  }
}

type Registration = [action: string, fn: ClientFn, options?: HandlerOptions]

/** The first mod is the outermost. */
function throughMods(mods: readonly Mod[], fn: ClientFn): ClientFn {
  return mods.reduceRight<ClientFn>((next, mod) => (message, context) => mod(message, context, next), fn)
}
