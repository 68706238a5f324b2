/** As server.py: the mean of what the nodes add, by SecAgg+. */
import { ArrayRecord, FedAvg, log, type NdArray, SecAggPlus, ServerApp } from 'trellis-fl'

export const app = new ServerApp().main(async (grid) => {
  const inner = new FedAvg({ fractionEvaluate: 0, minTrainNodes: 3, minAvailableNodes: 3 })
  const strategy = new SecAggPlus(inner, { maxWeight: 10 })
  const initial = ArrayRecord.fromList([new Float64Array([0.5, -1.5])])
  const { arrays } = await strategy.start(grid, initial, { numRounds: 2 })
  const [first] = [...arrays.values()] as [NdArray]
  log.info(`mean: ${[...first.values('float64')].map((value) => value.toFixed(6)).join(' ')}`)
})
