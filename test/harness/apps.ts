/** Sources of small apps that tests run. */

/** Adds one to every weight at each node and averages; the final weights are in the log. */
export const countingServer = `
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig['nodes'] ?? 2)
  const strategy = new FedAvg({ minAvailableNodes: nodes, minTrainNodes: nodes, minEvaluateNodes: nodes })
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const ballast = Number(context.runConfig['ballast'] ?? 0)
  if (ballast > 0) initial.set('ballast', NdArray.from(new Float32Array(ballast)))
  const result = await strategy.start(grid, initial, { numRounds: Number(context.runConfig['rounds'] ?? 2) })
  log.info(\`weights: \${[...result.arrays.get('w').values()].join(' ')}\`)
})
`

export const countingClient = `
import { ArrayRecord, ClientApp, ConfigRecord, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp()
  .train(async (message, context) => {
    const seen = Number(context.state.get('seen')?.get('count') ?? 0) + 1
    context.state.set('seen', new ConfigRecord({ count: seen }))
    const pauseMs = Number(context.runConfig['pause-ms'] ?? 0)
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    const arrays = new ArrayRecord()
    for (const [name, array] of message.content.arrays('arrays'))
      arrays.set(name, NdArray.from(Float32Array.from(array.values(), (value) => value + 1)))
    const metrics = new MetricRecord({ 'num-examples': 1, seen, pid: process.pid })
    return message.reply(new RecordDict({ arrays, metrics }))
  })
  .evaluate((message) => message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, loss: 0.5 }) })))
`

/**
 * As `countingServer`, by hand: saves its state after each round, and throws before the round named `fail-in`, unless it
 * did so before.
 */
export const savingServer = `
import { ArrayRecord, ConfigRecord, log, Message, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const { state, runConfig } = context
  if (!state.has('arrays')) state.set('arrays', new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) }))
  const progress = state.has('progress') ? state.config('progress') : new ConfigRecord({ round: 0, failed: 0 })
  state.set('progress', progress)
  for (let round = Number(progress.get('round')) + 1; round <= Number(runConfig['rounds']); round++) {
    log.info(\`begins round \${round}\`)
    if (round === Number(runConfig['fail-in'] ?? 0) && Number(progress.get('failed')) === 0) {
      progress.set('failed', 1)
      await grid.saveState(context)
      throw new Error('as it was told')
    }
    let nodes = await grid.getNodeIds()
    while (nodes.length < 1) nodes = await grid.getNodeIds({ knownNodes: nodes.length })
    const content = new RecordDict({ arrays: state.arrays('arrays') })
    const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
    const [reply] = await grid.sendAndReceive(messages)
    state.set('arrays', reply.content.arrays('arrays'))
    progress.set('round', round)
    await grid.saveState(context)
  }
  log.info(\`weights: \${[...state.arrays('arrays').get('w').values()].join(' ')}\`)
})
`

/** As `countingServer`, with one node unless the configuration says otherwise: the strategy saves a checkpoint after each round. */
export const checkpointingServer = `
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig['nodes'] ?? 1)
  const strategy = new FedAvg({ minAvailableNodes: nodes, minTrainNodes: nodes, fractionEvaluate: 0 })
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const numRounds = Number(context.runConfig['rounds'])
  const { arrays } = await strategy.start(grid, initial, { numRounds, checkpoint: context })
  log.info(\`weights: \${[...arrays.get('w').values()].join(' ')}\`)
})
`

/** Sends one query to every node and logs each answer or error as it comes. */
export const askingServer = `
import { ConfigRecord, log, Message, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const ttl = Number(context.runConfig['ttl'] ?? 60)
  let nodes = []
  while (nodes.length < 1) {
    nodes = await grid.getNodeIds()
    if (nodes.length < 1) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  for (const action of String(context.runConfig['actions']).split(',')) {
    const content = new RecordDict({ config: new ConfigRecord({ action }) })
    const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'query', dstNodeId, ttl }))
    for (const reply of await grid.sendAndReceive(messages)) {
      log.info(\`\${action}: \${reply.hasError() ? \`error \${reply.error.code} \${reply.error.reason}\` : 'answered'}\`)
    }
  }
})
`

/** Negates a model of `floats` values at one node. */
export const largeModelApp = {
  server: `
import { ArrayRecord, FedAvg, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const w = NdArray.build('float32', [Number(context.runConfig.floats)], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = index
  })
  const strategy = new FedAvg({ fractionTrain: 0.5, fractionEvaluate: 0, minTrainNodes: 1 })
  const { arrays } = await strategy.start(grid, new ArrayRecord({ w }), { numRounds: 1 })
  const last = arrays.get('w').values().at(-1)
  console.log('last value: ' + last)
})
`,
  client: `
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const before = message.content.arrays('arrays').get('w').values()
  const w = NdArray.build('float32', [before.length], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = -before[index]
  })
  return message.reply(new RecordDict({ arrays: new ArrayRecord({ w }), metrics: new MetricRecord({ 'num-examples': 1 }) }))
})
`,
}
