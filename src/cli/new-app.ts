/** The files of a new app, by path: linear regression on data that each node makes up for itself. */
export function newAppFiles(name: string, publisher: string): Record<string, string> {
  // A component reference is a path; a hyphen is fine in it, so the folder is named like the app.
  const folder = name
  return {
    'pyproject.toml': pyproject(name, publisher, folder),
    'README.md': readme(name),
    '.gitignore': 'node_modules/\n*.fab\n',
    [`${folder}/server-app.ts`]: serverApp,
    [`${folder}/client-app.ts`]: clientApp,
    [`${folder}/model.ts`]: model,
  }
}

const pyproject = (name: string, publisher: string, folder: string): string => `[project]
name = "${name}"
version = "1.0.0"
description = "A federated app in TypeScript"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "${publisher}"

[tool.flwr.app.components]
serverapp = "${folder}/server-app.ts:app"
clientapp = "${folder}/client-app.ts:app"

[tool.flwr.app.config]
num-server-rounds = 3
learning-rate = 0.1
`

const readme = (name: string): string => `# ${name}

A federated app: each SuperNode fits a line to its own points, the SuperLink averages the lines.

    flwr run . --stream                                   # on the default connection of config.toml
    flwr run . :local: --stream                           # on virtual SuperNodes of this machine
    flwr run . --stream --run-config "num-server-rounds=10"

- \`${name}/server-app.ts\` steers the rounds,
- \`${name}/client-app.ts\` trains and evaluates at the data,
- \`${name}/model.ts\` is the model.
`

const serverApp = `import { FedAvg, log, ServerApp } from 'trellis-fl'
import { initialModel } from './model.ts'

export const app = new ServerApp().main(async (grid, context) => {
  const strategy = new FedAvg({ minAvailableNodes: 1, minTrainNodes: 1, minEvaluateNodes: 1 })
  const numRounds = Number(context.runConfig['num-server-rounds'])
  const result = await strategy.start(grid, initialModel(), { numRounds })
  log.info(\`Final line: \${[...result.arrays].map(([name, array]) => \`\${name} = \${array.values()[0]}\`).join(', ')}\`)
})
`

const clientApp = `import { ClientApp, MetricRecord, RecordDict } from 'trellis-fl'
import { loss, points, train } from './model.ts'

export const app = new ClientApp()
  .train((message, context) => {
    const data = points(context.nodeId)
    const arrays = train(message.content.arrays('arrays'), data, Number(context.runConfig['learning-rate']))
    const metrics = new MetricRecord({ 'num-examples': data.length, loss: loss(arrays, data) })
    return message.reply(new RecordDict({ arrays, metrics }))
  })
  .evaluate((message, context) => {
    const data = points(context.nodeId)
    const metrics = new MetricRecord({ 'num-examples': data.length, loss: loss(message.content.arrays('arrays'), data) })
    return message.reply(new RecordDict({ metrics }))
  })
`

const model = `import { ArrayRecord, NdArray } from 'trellis-fl'

/** A line y = slope * x + intercept. */
export function initialModel(): ArrayRecord {
  return toArrays(0, 0)
}

export interface Point {
  readonly x: number
  readonly y: number
}

/** Points near y = 3x + 1, others at each node. Read your own data here. */
export function points(nodeId: bigint): Point[] {
  const shift = Number(nodeId % 10n) / 10
  return Array.from({ length: 50 }, (_, index) => {
    const x = (index / 50) * 2 - 1 + shift * 0.1
    return { x, y: 3 * x + 1 + Math.sin(index + shift) * 0.05 }
  })
}

/** Gradient descent on the mean squared error. */
export function train(arrays: ArrayRecord, data: readonly Point[], learningRate: number): ArrayRecord {
  let { slope, intercept } = fromArrays(arrays)
  for (let step = 0; step < 50; step++) {
    let [slopeGradient, interceptGradient] = [0, 0]
    for (const { x, y } of data) {
      const error = slope * x + intercept - y
      slopeGradient += (2 * error * x) / data.length
      interceptGradient += (2 * error) / data.length
    }
    slope -= learningRate * slopeGradient
    intercept -= learningRate * interceptGradient
  }
  return toArrays(slope, intercept)
}

/** Mean squared error. */
export function loss(arrays: ArrayRecord, data: readonly Point[]): number {
  const { slope, intercept } = fromArrays(arrays)
  return data.reduce((sum, { x, y }) => sum + (slope * x + intercept - y) ** 2, 0) / data.length
}

function toArrays(slope: number, intercept: number): ArrayRecord {
  return new ArrayRecord({
    slope: NdArray.from(new Float64Array([slope])),
    intercept: NdArray.from(new Float64Array([intercept])),
  })
}

function fromArrays(arrays: ArrayRecord): { slope: number; intercept: number } {
  const value = (name: string): number => Number(arrays.get(name)?.values()[0])
  return { slope: value('slope'), intercept: value('intercept') }
}
`
