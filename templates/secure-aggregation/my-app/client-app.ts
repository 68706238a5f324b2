import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict, secureAggregation } from 'trellis-fl'
import { answersOf, sharesOf } from './survey.ts'

/** Counts the answers at its node. The mod masks the reply, and the count of people with it. */
export const app = new ClientApp({ mods: [secureAggregation()] }).train((message, { nodeId }) => {
  const answers = answersOf(nodeId)
  const arrays = new ArrayRecord({ shares: NdArray.from(sharesOf(answers)) })
  const metrics = new MetricRecord({ 'num-examples': answers.length })
  return message.reply(new RecordDict({ arrays, metrics }))
})
