/** One round after the other, each with its time, so that memory and time of the first can be set beside those of the last. */
export const scaleServer = `
import { ArrayRecord, FedAvg, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig.nodes)
  let arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(1024)) })
  for (let round = 1; round <= Number(context.runConfig.rounds); round++) {
    const startedAt = performance.now()
    const strategy = new FedAvg({ fractionEvaluate: 0, minTrainNodes: nodes, minAvailableNodes: nodes })
    const result = await strategy.start(grid, arrays, { numRounds: 1 })
    arrays = result.arrays
    console.log('bench: round ' + round + ' took ' + (performance.now() - startedAt).toFixed(1) + ' ms')
    await new Promise((resolve) => setTimeout(resolve, Number(context.runConfig['pause-ms'])))
  }
})
`

/** No process runs it: the nodes are simulated. */
export const scaleClient = `
import { ClientApp } from 'trellis-fl'
export const app = new ClientApp()
`
