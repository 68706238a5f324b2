import { errorCodes, Message } from '../../message/message.ts'
import { splitMessageType } from '../../message/message-type.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import type { Mod } from '../client-app.ts'
import { log } from '../log.ts'
import { type FitResult, FlowerRound, flowerRecordKey, RefusedInFlowerRoundError } from '../secagg-plus/flower-round.ts'

const stateKey = 'trellis-secagg-plus'

/**
 * Flower's SecAgg and SecAgg+ (`secaggplus_mod`), for ServerApps in Python with `SecAggPlusWorkflow`, which work with Flower's
 * old records. The app sees a message with the records `arrays` (named `0`, `1`, …) and `config`, and replies with one
 * ArrayRecord and one MetricRecord with `num-examples`, as with any strategy.
 *
 * It protects little: each mask comes from a seed of 32 bits, which a curious server can try out. Use
 * {@link secureAggregation} if the ServerApp is yours to choose.
 *
 * @example
 * new ClientApp({ mods: [secAggPlus()] }).train(train)
 */
export function secAggPlus(): Mod {
  let isWarned = false
  return async (message, context, next) => {
    const request = message.hasContent() ? message.content.configRecords.get(flowerRecordKey) : undefined
    if (splitMessageType(message.metadata.messageType).category !== 'train') return next(message, context)
    if (!isWarned)
      log.warn(
        "Flower's SecAgg+ hides updates behind masks with seeds of 32 bits, which a curious server can try out. Prefer SecureAggregation.",
      )
    isWarned = true
    try {
      if (!request) throw new RefusedInFlowerRoundError('This node trains under SecAgg+ only.')
      const round = new FlowerRound(context.nodeId, context.state.configRecords.get(stateKey)?.copy())
      const train = async () => fitResultOf(await next(modernMessage(message), context))
      const reply = await round.handle(request, train)
      context.state.set(stateKey, round.state)
      return message.reply(reply)
    } catch (error) {
      if (!(error instanceof RefusedInFlowerRoundError)) throw error
      log.error(error.message)
      return message.replyError({ code: errorCodes.modFailedPrecondition, reason: error.message })
    }
  }
}

/** The message with the names of records that strategies of today use. */
function modernMessage(message: Message): Message {
  const { content } = message
  const arrays = content.arrayRecords.get('fitins.parameters') ?? new ArrayRecord()
  const config = content.configRecords.get('fitins.config') ?? new ConfigRecord()
  return new Message(message.metadata, { content: new RecordDict({ arrays, config }) })
}

function fitResultOf(reply: Message): FitResult {
  if (reply.error) throw new RefusedInFlowerRoundError(reply.error.reason)
  const [arrays, ...more] = [...reply.content.arrayRecords.values()]
  const [metrics, ...others] = [...reply.content.metricRecords.values()]
  if (!arrays || !metrics || more.length > 0 || others.length > 0)
    throw new RefusedInFlowerRoundError('The reply must hold one ArrayRecord and one MetricRecord.')
  const examples = metrics.getNumber('num-examples')
  const rest = [...metrics].filter(([name, value]) => name !== 'num-examples' && !Array.isArray(value))
  const records = new RecordDict([
    ['fitres.metrics', new ConfigRecord(rest as [string, number][])],
    ['fitres.num_examples', new MetricRecord({ num_examples: examples })],
    ['fitres.parameters', new ArrayRecord()],
    ['fitres.status', new ConfigRecord({ code: 0, message: '' })],
  ])
  return { arrays: [...arrays.values()], examples, records }
}
