import { ArrayRecord, FedBuff, log, NdArray, ServerApp } from 'trellis-fl'

/** Keeps some nodes busy; the model steps whenever a few updates have come, and older ones count less. */
export const app = new ServerApp().main(async (grid, context) => {
  const { config } = context
  const strategy = new FedBuff({
    bufferSize: config.integer('buffer-size'),
    concurrency: config.integer('concurrency'),
    staleness: (steps) => 1 / Math.sqrt(1 + steps),
  })
  const flat = new ArrayRecord({ line: NdArray.from(new Float64Array(2)) })
  const { arrays } = await strategy.start(grid, flat, {
    numUpdates: config.integer('num-updates'),
    checkpoint: context,
  })
  const [slope = 0, intercept = 0] = arrays.getArray('line').values('float64')
  log.info(`Final line: slope = ${slope.toFixed(3)}, intercept = ${intercept.toFixed(3)}`)
})
