import { ArrayRecord, ClientApp, float, MetricRecord, NdArray, RecordDict } from 'trellis-fl'

/** Points near y = 2x - 1, others at each node. Read your own data here. */
function pointsOf(nodeId: bigint): { x: number; y: number }[] {
  return Array.from({ length: 40 }, (_, index) => {
    const x = index / 20 - 1
    return { x, y: 2 * x - 1 + Math.sin(index + Number(nodeId % 10n)) * 0.05 }
  })
}

/** Fits the line with some steps of gradient descent. */
export const app = new ClientApp().train((message, { config, nodeId }) => {
  const points = pointsOf(nodeId)
  const learningRate = config.number('learning-rate')
  const line = message.content.arrays('arrays').getArray('line').values('float64').slice()
  let loss = 0
  for (let step = 0; step < 10; step++) {
    const [slope = 0, intercept = 0] = line
    const errors = points.map(({ x, y }) => slope * x + intercept - y)
    const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
    loss = mean(errors.map((error) => error ** 2))
    line[0] = slope - learningRate * 2 * mean(errors.map((error, index) => error * (points[index]?.x ?? 0)))
    line[1] = intercept - learningRate * 2 * mean(errors)
  }
  const arrays = new ArrayRecord({ line: NdArray.from(line) })
  const metrics = new MetricRecord({ 'num-examples': points.length, 'train-loss': float(loss) })
  return message.reply(new RecordDict({ arrays, metrics }))
})
