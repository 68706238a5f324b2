import { FedAvg, log, ServerApp } from 'trellis-fl'
import { createNetwork, toArrays } from './network.ts'

export const app = new ServerApp().main(async (grid, { config }) => {
  const strategy = new FedAvg({ minAvailableNodes: 1, minTrainNodes: 1, minEvaluateNodes: 1 })
  const network = createNetwork(config.number('learning-rate'))
  const numRounds = config.integer('num-server-rounds')
  const result = await strategy.start(grid, toArrays(network), { numRounds })
  log.info(`Final accuracy: ${result.evaluate.at(numRounds).number('accuracy').toFixed(4)}`)
})
