import { errorCodes, Message } from '../../message/message.ts'
import { splitMessageType } from '../../message/message-type.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import type { ClientFn, Mod } from '../client-app.ts'
import { log } from '../log.ts'
import { RefusedByNodeError } from '../secure-aggregation/fixed-point.ts'
import { NodeRound, stateKey } from '../secure-aggregation/node-round.ts'
import { maskedKey, recordKey, type Stage, stageRecord, stages, textOf, WireError } from '../secure-aggregation/wire.ts'

/**
 * Masks the update of a node, so that the server learns only the sum over many nodes; for a ServerApp with
 * {@link SecureAggregation}. It must be the first of the mods, so that it sees the reply last. The app replies with one
 * ArrayRecord, with the names and shapes of the model, and one MetricRecord: both are masked, and nothing else is sent.
 * Messages to train without secure aggregation are refused.
 *
 * @example
 * new ClientApp({ mods: [secureAggregation(), fixedClipping] }).train(train)
 */
export function secureAggregation(): Mod {
  return async (message, context, next) => {
    const request = message.hasContent() ? message.content.configRecords.get(recordKey) : undefined
    try {
      if (!request) {
        if (splitMessageType(message.metadata.messageType).category !== 'train') return await next(message, context)
        throw new RefusedByNodeError(
          'This node trains under secure aggregation only, and the ServerApp does not use it: wrap its strategy in SecureAggregation.',
        )
      }
      const kept = context.state.configRecords.get(stateKey) ?? new ConfigRecord()
      const round = new NodeRound(context.nodeId, kept.copy())
      const stage = stageOf(request)
      round.checkTurn(stage, request)
      const reply =
        stage === 'masked'
          ? await trainMasked(round, request, message, (asked) => next(asked, context))
          : message.reply(new RecordDict([[recordKey, round[stage](request)]]))
      context.state.set(stateKey, round.state)
      return reply
    } catch (error) {
      if (!(error instanceof RefusedByNodeError || error instanceof WireError)) throw error
      log.error(error.message)
      return message.replyError({ code: errorCodes.modFailedPrecondition, reason: error.message })
    }
  }
}

function stageOf(request: ConfigRecord): Stage {
  const stage = textOf(request, 'stage')
  const found = stages.find((known) => known === stage)
  if (found) return found
  throw new WireError(`There is no stage '${stage}' of secure aggregation.`)
}

/** Trains, and replies with masked numbers in the place of arrays and metrics. */
async function trainMasked(
  round: NodeRound,
  request: ConfigRecord,
  message: Message,
  train: (asked: Message) => ReturnType<ClientFn>,
): Promise<Message> {
  const masking = round.receiveShares(request)
  const records = [...message.content].filter(([name]) => name !== recordKey)
  const current = only('message', new RecordDict(records), ArrayRecord)
  const reply = await train(new Message(message.metadata, { content: new RecordDict(records) }))
  if (reply.hasError()) return reply
  const trained = only('reply', reply.content, ArrayRecord)
  const metrics = only('reply', reply.content, MetricRecord)
  if (reply.content.size > 2)
    throw new RefusedByNodeError(
      'The reply holds more than an ArrayRecord and a MetricRecord: secure aggregation would send the rest unprotected.',
    )
  if (trained.size !== current.size || [...current.keys()].some((name) => !trained.has(name)))
    throw new RefusedByNodeError('The arrays of the reply have other names than those of the model.')
  const { vector, layout, clippedPart } = await round.mask({ current, trained }, metrics, masking)
  if (clippedPart > 0)
    log.warn(
      `Secure aggregation clipped ${(clippedPart * 100).toFixed(2)} % of the changes to ±${masking.scale.clippingRange}.`,
    )
  const arrays = new ArrayRecord({ values: NdArray.from(vector.values), metrics: NdArray.from(vector.metrics) })
  const record = stageRecord('masked', request.getBytes('session'), {
    ...{ 'metric-names': layout.names, 'metric-lengths': layout.lengths },
  })
  return message.reply(
    new RecordDict([
      [maskedKey, arrays],
      [recordKey, record],
    ]),
  )
}

function only<R>(
  what: string,
  content: RecordDict,
  kind: (new (...args: never[]) => R) & { readonly name: string },
): R {
  const found = [...content.values()].filter((record) => record instanceof kind)
  if (found.length === 1) return found[0] as R
  throw new RefusedByNodeError(
    `Secure aggregation needs exactly one ${kind.name} in the ${what}, but it holds ${found.length}.`,
  )
}
