/** Sources of small apps that tests run. */

/** Adds one to every weight at each node and averages; the final weights are in the log. */
export const countingServer = `
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig['nodes'] ?? 2)
  const strategy = new FedAvg({ minAvailableNodes: nodes, minTrainNodes: nodes, minEvaluateNodes: nodes })
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
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
    const values = Float32Array.from(message.content.arrays('arrays').get('w').values(), (value) => value + 1)
    const metrics = new MetricRecord({ 'num-examples': 1, seen, pid: process.pid })
    return message.reply(new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(values) }), metrics }))
  })
  .evaluate((message) => message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, loss: 0.5 }) })))
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
