import { ArrayRecord, FedAvg, log, NdArray, SecureAggregation, ServerApp } from 'trellis-fl'
import { options } from './survey.ts'

/** Learns the mean of the shares over all nodes, weighted by their people, and no share of one node. */
export const app = new ServerApp().main(async (grid, context) => {
  const minNodes = context.config.integer('min-nodes')
  const mean = new FedAvg({ fractionEvaluate: 0, minTrainNodes: minNodes, minAvailableNodes: minNodes })
  const nothing = new ArrayRecord({ shares: NdArray.from(new Float32Array(options.length)) })
  const { arrays } = await new SecureAggregation(mean).start(grid, nothing, { numRounds: 1 })
  context.state.set('result', arrays)
  const shares = arrays.getArray('shares').values('float32')
  log.info(
    `Result: ${options.map((option, index) => `${option} ${((shares[index] ?? 0) * 100).toFixed(1)} %`).join(', ')}`,
  )
})
