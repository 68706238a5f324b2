import { ClientApp, type Context, float, MetricRecord, RecordDict } from 'trellis-fl'
import { readShare, type Share } from './images.ts'
import { evaluate, fromArrays, toArrays, train } from './network.ts'

/** Trains and evaluates on this node's share of the images. */
export const app = new ClientApp()
  .train((message, context) => {
    const { train: images } = shareOf(context)
    const network = fromArrays(message.content.arrays('arrays'))
    const loss = train(network, images, {
      epochs: Number(context.runConfig['local-epochs']),
      learningRate: Number(context.runConfig['learning-rate']),
      batchSize: Number(context.runConfig['batch-size']),
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

function shareOf({ nodeConfig }: Context): Share {
  return readShare(Number(nodeConfig['partition-id'] ?? 0), Number(nodeConfig['num-partitions'] ?? 1))
}
