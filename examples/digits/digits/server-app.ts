import { type ArrayRecord, FedAvg, float, log, MetricRecord, ServerApp } from 'trellis-fl'
import { readTestSet } from './images.ts'
import { evaluate, fromArrays, initialNetwork, toArrays } from './network.ts'

/** Steers the rounds: every node trains on its own images, and the networks are averaged. */
export const app = new ServerApp().main(async (grid, context) => {
  const minNodes = context.config.integer('min-nodes')
  const numRounds = context.config.integer('num-server-rounds')
  const strategy = new FedAvg({ minAvailableNodes: minNodes, minTrainNodes: minNodes, minEvaluateNodes: minNodes })

  const testSet = readTestSet()
  const evaluateFn = (_round: number, arrays: ArrayRecord): MetricRecord => {
    const { loss, accuracy } = evaluate(fromArrays(arrays), testSet)
    return new MetricRecord({ 'test-accuracy': float(accuracy), 'test-loss': float(loss) })
  }

  const result = await strategy.start(grid, toArrays(initialNetwork(1)), { numRounds, evaluateFn })
  const accuracy = result.evaluateMetricsServerapp.get(numRounds)?.getNumber('test-accuracy') ?? 0
  log.info(`Final test accuracy: ${accuracy.toFixed(4)} (${testSet.count} images that no node has)`)
})
