import { FedAvg, log, ServerApp } from 'trellis-fl'
import { initialModel } from './model.ts'

export const app = new ServerApp().main(async (grid, context) => {
  const strategy = new FedAvg({ minAvailableNodes: 1, minTrainNodes: 1, minEvaluateNodes: 1 })
  const numRounds = context.config.integer('num-server-rounds')
  const result = await strategy.start(grid, initialModel(), { numRounds })
  log.info(`Final line: ${[...result.arrays].map(([name, array]) => `${name} = ${array.values()[0]}`).join(', ')}`)
})
