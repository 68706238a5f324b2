import { ArrayRecord, FedXgbBagging, log, ServerApp } from 'trellis-fl'

/** Adds a tree of every node in each round. The model is XGBoost's JSON, as bytes. */
export const app = new ServerApp().main(async (grid, { config }) => {
  const minNodes = config.integer('min-nodes')
  const strategy = new FedXgbBagging({
    minTrainNodes: minNodes,
    minEvaluateNodes: minNodes,
    minAvailableNodes: minNodes,
  })
  const numRounds = config.integer('num-server-rounds')
  const result = await strategy.start(grid, ArrayRecord.fromList([new Uint8Array()]), { numRounds })
  const model = result.arrays.getArray('0').values('uint8')
  const auc = result.evaluate.get(numRounds)?.number('auc')
  log.info(`The model has ${model.length} bytes; area under the curve: ${auc?.toFixed(4) ?? 'unknown'}`)
})
