import { ClientApp, type Context, float, MetricRecord, RecordDict } from 'trellis-fl'
import { readShare, type Share } from './images.ts'
import { evaluate, fromArrays, toArrays, train } from './network.ts'

/** Trains and evaluates on this node's share of the images. */
export const app = new ClientApp()
  .train((message, context) => {
    const { train: images } = shareOf(context)
    const network = fromArrays(message.content.arrays('arrays'))
    const loss = train(network, images, {
      epochs: context.config.integer('local-epochs'),
      learningRate: context.config.number('learning-rate'),
      batchSize: context.config.integer('batch-size'),
      seed: message.content.config('config').getNumber('server-round'),
    })
    const metrics = new MetricRecord({ 'num-examples': images.count, 'train-loss': float(loss) })
    return message.reply(new RecordDict({ arrays: toArrays(network), metrics }))
  })
  .evaluate((message, context) => {
    const { heldBack: images } = shareOf(context)
    const { loss, accuracy } = evaluate(fromArrays(message.content.arrays('arrays')), images)
    const metrics = new MetricRecord({ 'num-examples': images.count, loss: float(loss), accuracy: float(accuracy) })
    return message.reply(new RecordDict({ metrics }))
  })

function shareOf({ config }: Context): Share {
  return readShare(config.node.integer('partition-id', 0), config.node.integer('num-partitions', 1))
}
