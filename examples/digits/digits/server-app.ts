import { FedAvg, log, ServerApp } from 'trellis-fl'
import { initialNetwork, toArrays } from './network.ts'

/** Steers the rounds: every node trains on its own images, and the networks are averaged. */
export const app = new ServerApp().main(async (grid, context) => {
  const minNodes = Number(context.runConfig['min-nodes'])
  const numRounds = Number(context.runConfig['num-server-rounds'])
  const strategy = new FedAvg({ minAvailableNodes: minNodes, minTrainNodes: minNodes, minEvaluateNodes: minNodes })
  const result = await strategy.start(grid, toArrays(initialNetwork(1)), { numRounds })
  const accuracy = result.evaluateMetricsClientapp.get(numRounds)?.getNumber('accuracy')
  log.info(`Final test accuracy: ${accuracy?.toFixed(4) ?? 'unknown, no node evaluated'}`)
})
