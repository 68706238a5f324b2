import { Message } from '../../message/message.ts'
import { type AnyRecord, ArrayRecord, RecordDict } from '../../message/records.ts'
import type { Mod } from '../client-app.ts'

/** Where a node keeps its own arrays, in the state of its context. */
const stateKey = 'trellis-personal-layers'

/**
 * Keeps some arrays of the model at the node, for layers that fit its own data: batch normalisation (Li et al., "FedBN:
 * Federated Learning on Non-IID Features via Local Batch Normalization", 2021) or the last layers (Arivazhagan et al.,
 * "Federated Learning with Personalization Layers", 2019). The app sees the node's own arrays in the place of the
 * server's, and the server receives those that it has sent: they never leave the node.
 *
 * @example
 * new ClientApp({ mods: [personalLayers((name) => name.includes('bn'))] }).train(train).evaluate(evaluate)
 */
export function personalLayers(isPersonal: (name: string) => boolean): Mod {
  return async (message, context, next) => {
    if (!message.hasContent()) return next(message, context)
    const kept = context.state.arrayRecords.get(stateKey) ?? new ArrayRecord()
    const sent = new ArrayRecord([...message.content.arrayRecords.values()].flatMap((record) => [...record]))
    const personalArray = (name: string) => (isPersonal(name) ? kept.get(name) : undefined)
    const reply = await next(
      new Message(message.metadata, { content: replaced(message.content, personalArray) }),
      context,
    )
    if (!reply.hasContent()) return reply
    const trained = [...reply.content.arrayRecords.values()].flatMap((record) => [...record])
    const personal = trained.filter(([name]) => isPersonal(name))
    if (personal.length > 0) context.state.set(stateKey, new ArrayRecord([...kept, ...personal]))
    const ofServer = (name: string) => (isPersonal(name) ? sent.get(name) : undefined)
    return new Message(reply.metadata, { content: replaced(reply.content, ofServer) })
  }
}

/** The records with other arrays in the place of those for which there is one. */
function replaced(records: RecordDict, find: (name: string) => ReturnType<ArrayRecord['get']>): RecordDict {
  return new RecordDict(
    [...records].map(([name, record]): [string, AnyRecord] =>
      record instanceof ArrayRecord
        ? [name, new ArrayRecord([...record].map(([key, array]) => [key, find(key) ?? array] as const))]
        : [name, record],
    ),
  )
}
