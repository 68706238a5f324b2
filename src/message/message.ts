import { isMessageType } from './message-type.ts'
import { RecordDict } from './records.ts'

/** How long an instruction lives by default, in seconds. */
export const defaultTtl = 43_200

/** Why a reply carries no content. The numbers are Flower's. */
export const errorCodes = {
  unknown: 0,
  loadClientAppException: 1,
  clientAppRaisedException: 2,
  messageUnavailable: 3,
  replyMessageUnavailable: 4,
  nodeUnavailable: 5,
  modFailedPrecondition: 6,
  invalidFab: 7,
  clientAppCrashed: 8,
} as const

/** Why a node has no result: a code of {@link errorCodes}, and a sentence. */
export interface MessageError {
  readonly code: number
  readonly reason: string
}

/** Where a message comes from and goes to, what kind it is, and how long it is valid. */
export interface Metadata {
  readonly runId: bigint
  /** The id of the message object; empty until it is pushed. */
  readonly messageId: string
  readonly srcNodeId: bigint
  readonly dstNodeId: bigint
  /** Empty for instructions. */
  readonly replyToMessageId: string
  readonly groupId: string
  /** Seconds from `createdAt`. */
  readonly ttl: number
  /** `train`, `evaluate`, `query` or `system`, optionally with `.action`. */
  readonly messageType: string
  /** Epoch seconds. */
  readonly createdAt: number
  readonly srcTaskId?: bigint | undefined
  readonly dstTaskId?: bigint | undefined
}

/** What {@link Message.create} needs. */
export interface NewMessage {
  readonly content: RecordDict
  /** `train`, `evaluate` or `query`, optionally with an action: `train.personalise`. */
  readonly messageType: string
  readonly dstNodeId: bigint
  readonly groupId?: string
  /** Seconds after which it is no longer delivered or answered; by default 12 hours. */
  readonly ttl?: number
  /** The task at the receiver that the message is for, if it knows several. */
  readonly dstTaskId?: bigint
}

/**
 * What ServerApps and ClientApps exchange: metadata, and either content or an error.
 *
 * @example
 * const question = Message.create({ content, messageType: 'query', dstNodeId })
 * const [reply] = await grid.sendAndReceive([question])
 * if (reply?.error) log.warn(`node ${dstNodeId}: ${reply.error.reason}`)
 * else log.info(reply.content.config('facts').getString('model'))
 */
export class Message {
  readonly metadata: Metadata
  readonly #content: RecordDict | undefined
  readonly error: MessageError | undefined

  constructor(metadata: Metadata, body: { content: RecordDict } | { error: MessageError }) {
    this.metadata = metadata
    this.#content = 'content' in body ? body.content : undefined
    this.error = 'error' in body ? body.error : undefined
  }

  /**
   * A new instruction. The Grid fills in run and sender when it is pushed.
   *
   * @example
   * Message.create({ content: new RecordDict({ arrays, config }), messageType: 'train', dstNodeId })
   */
  static create(fields: NewMessage): Message {
    if (!isMessageType(fields.messageType)) {
      throw new TypeError(
        `Message type '${fields.messageType}' is not train, evaluate, query or system, optionally with .action.`,
      )
    }
    ensureRecordDict(fields.content)
    return new Message(
      {
        runId: 0n,
        messageId: '',
        srcNodeId: 0n,
        dstNodeId: fields.dstNodeId,
        replyToMessageId: '',
        groupId: fields.groupId ?? '',
        ttl: fields.ttl || defaultTtl,
        messageType: fields.messageType,
        createdAt: nowSeconds(),
        ...(fields.dstTaskId === undefined ? {} : { dstTaskId: fields.dstTaskId }),
      },
      { content: fields.content },
    )
  }

  /** Throws an Error with the reason when the message carries an error instead. */
  get content(): RecordDict {
    if (this.#content) return this.#content
    throw new Error(`The message carries an error instead of content: ${this.error?.reason ?? 'unknown'}`)
  }

  hasContent(): boolean {
    return this.#content !== undefined
  }

  hasError(): boolean {
    return this.error !== undefined
  }

  /**
   * The reply to this message. Its life ends with the instruction's: a longer `ttl` is cut.
   *
   * @example
   * return message.reply(new RecordDict({ arrays, metrics }))
   */
  reply(content: RecordDict, options: { ttl?: number } = {}): Message {
    ensureRecordDict(content)
    return new Message(this.#replyMetadata(options.ttl), { content })
  }

  /** The reply that says why there is none; what a ClientApp throws becomes one by itself. */
  replyError(error: MessageError): Message {
    return new Message(this.#replyMetadata(), { error })
  }

  #replyMetadata(ttl?: number): Metadata {
    const asked = this.metadata
    const createdAt = nowSeconds()
    const rest = asked.createdAt + asked.ttl - createdAt
    return {
      runId: asked.runId,
      messageId: '',
      srcNodeId: asked.dstNodeId,
      dstNodeId: asked.srcNodeId,
      replyToMessageId: asked.messageId,
      groupId: asked.groupId,
      ttl: ttl === undefined ? rest : Math.min(ttl, rest),
      messageType: asked.messageType,
      createdAt,
      ...(asked.dstTaskId === undefined ? {} : { srcTaskId: asked.dstTaskId }),
      ...(asked.srcTaskId === undefined ? {} : { dstTaskId: asked.srcTaskId }),
    }
  }
}

/** Apps need not be compiled, so that the types alone do not keep other objects out. */
function ensureRecordDict(content: RecordDict): void {
  if (!(content instanceof RecordDict))
    throw new TypeError('The content of a message must be a RecordDict: new RecordDict({ name: record }).')
}

function nowSeconds(): number {
  return Date.now() / 1000
}
