import { ClientApp, float, MetricRecord, RecordDict } from 'trellis-fl'
import { createNetwork, evaluate, fit, setArrays, toArrays } from './network.ts'
import { pointsOf } from './points.ts'

export const app = new ClientApp()
  .train(async (message, { config, nodeId }) => {
    const points = pointsOf(nodeId)
    const network = createNetwork(config.number('learning-rate'))
    setArrays(network, message.content.arrays('arrays'))
    const loss = await fit(network, points, config.integer('local-epochs'))
    const metrics = new MetricRecord({ 'num-examples': points.labels.length, 'train-loss': float(loss) })
    const arrays = toArrays(network)
    network.dispose()
    return message.reply(new RecordDict({ arrays, metrics }))
  })
  .evaluate((message, { config, nodeId }) => {
    const points = pointsOf(nodeId)
    const network = createNetwork(config.number('learning-rate'))
    setArrays(network, message.content.arrays('arrays'))
    const { loss, accuracy } = evaluate(network, points)
    network.dispose()
    const metrics = new MetricRecord({
      'num-examples': points.labels.length,
      loss: float(loss),
      accuracy: float(accuracy),
    })
    return message.reply(new RecordDict({ metrics }))
  })
