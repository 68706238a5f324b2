import { errorCodes, Message } from '../../message/message.ts'
import { splitMessageType } from '../../message/message-type.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import type { ClientFn, Mod } from '../client-app.ts'
import { log } from '../log.ts'

/** What the mods that change the arrays of a reply have in common. */

/** The message or its reply lacks what a mod needs: becomes an error reply. */
class MissingForMod extends Error {}

export interface ModCall {
  /** The mod by Flower's name. */
  readonly mod: string
  readonly message: Message
  /** The model that the node received. */
  readonly model: ArrayRecord
  /** Calls the app. Returns its reply, with the one ArrayRecord that it holds; `undefined` for an error reply. */
  readonly train: () => Promise<{ reply: Message; arrays: ArrayRecord } | { reply: Message; arrays: undefined }>
}

/**
 * A mod for `train` messages, which hold one ArrayRecord; others pass. If something is missing, the node replies with
 * Flower's error code 6 and the reason.
 */
export function trainMod(mod: string, handle: (call: ModCall) => Promise<Message>): Mod {
  return async (message, context, next) => {
    if (splitMessageType(message.metadata.messageType).category !== 'train') return next(message, context)
    try {
      const model = onlyRecord(mod, message, ArrayRecord)
      const train = async () => {
        const reply = await (next as ClientFn)(message, context)
        if (reply.hasError()) return { reply, arrays: undefined }
        const arrays = onlyRecord(mod, reply, ArrayRecord)
        if ([...arrays.keys()].join('\n') !== [...model.keys()].join('\n'))
          throw new MissingForMod(
            `${mod} expects the keys in the ArrayRecord of the reply message to match those from the ArrayRecord that the ClientApp received, but they do not.`,
          )
        return { reply, arrays }
      }
      return await handle({ mod, message, model, train })
    } catch (error) {
      if (!(error instanceof MissingForMod)) throw error
      log.error(error.message)
      return message.replyError({ code: errorCodes.modFailedPrecondition, reason: error.message })
    }
  }
}

/** A number in the one ConfigRecord of the message. */
export function configNumber({ mod, message }: ModCall, key: string): number {
  const value = onlyRecord(mod, message, ConfigRecord).get(key)
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value)
  throw new MissingForMod(
    `${mod} requires the key '${key}' to be present in the ConfigRecord, but it was not found. Please ensure the \`DifferentialPrivacyClientSideFixedClipping\` wrapper is used in the ServerApp.`,
  )
}

/** The one MetricRecord of a reply. */
export function onlyMetrics(mod: string, reply: Message): MetricRecord {
  return onlyRecord(mod, reply, MetricRecord)
}

/** The reply with other records in the place of some. */
export function withRecords(
  reply: Message,
  replaced: ReadonlyMap<ArrayRecord | MetricRecord, ArrayRecord | MetricRecord>,
): Message {
  const records = [...reply.content].map(
    ([name, record]) => [name, replaced.get(record as ArrayRecord) ?? record] as const,
  )
  return new Message(reply.metadata, { content: new RecordDict(records) })
}

type Kind<R> = (new (...args: never[]) => R) & { readonly name: string }

function onlyRecord<R>(mod: string, message: Message, kind: Kind<R>): R {
  const found = [...message.content.values()].filter((record) => record instanceof kind)
  if (found.length === 1) return found[0] as R
  throw new MissingForMod(`${mod} expects exactly one ${kind.name}, but found ${found.length} ${kind.name}(s).`)
}
