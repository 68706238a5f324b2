import { ClientApp, MetricRecord, RecordDict } from 'trellis-fl'
import { loss, points, train } from './model.ts'

export const app = new ClientApp()
  .train((message, context) => {
    const data = points(context.nodeId)
    const arrays = train(message.content.arrays('arrays'), data, context.config.number('learning-rate'))
    const metrics = new MetricRecord({ 'num-examples': data.length, loss: loss(arrays, data) })
    return message.reply(new RecordDict({ arrays, metrics }))
  })
  .evaluate((message, context) => {
    const data = points(context.nodeId)
    const metrics = new MetricRecord({
      'num-examples': data.length,
      loss: loss(message.content.arrays('arrays'), data),
    })
    return message.reply(new RecordDict({ metrics }))
  })
