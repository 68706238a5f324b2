/** As client.py: adds its own number to every weight, and weighs as much. */
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict, secAggPlus } from 'trellis-fl'

export const app = new ClientApp({ mods: [secAggPlus()] }).train((message, context) => {
  const number = Number(context.nodeConfig.partition) + 1
  const arrays = new ArrayRecord(
    [...message.content.arrays('arrays')].map(
      ([name, array]) => [name, NdArray.from(array.values('float64').map((value) => value + number))] as const,
    ),
  )
  return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': number }) }))
})
