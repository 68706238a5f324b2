import type { Language } from './bilingual-app.ts'
import { writeMixedApp } from './python-apps.ts'

/**
 * An app that trains asynchronously: each node adds a quarter to every weight, and every update counts the same. After four
 * steps the weights are 1 and 11. The ServerApp logs what it knows of the nodes.
 */
const server = `import { ArrayRecord, FedBuff, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const count = context.config.integer('nodes')
  let nodes = await grid.getNodes()
  while (nodes.length < count) nodes = await grid.getNodes({ knownNodes: nodes.length })
  for (const { name, organization, tags, status, lastSeenAt } of nodes)
    log.info(\`node \${name} of \${organization}: \${JSON.stringify(tags)}, \${status}, seen \${Date.now() - lastSeenAt < 120_000}\`)
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const strategy = new FedBuff({ bufferSize: 2, concurrency: count, staleness: () => 1 })
  const result = await strategy.start(grid, initial, { numUpdates: 4, checkpoint: context })
  const weights = [...result.arrays.getArray('w').values('float32')].map((value) => value.toFixed(3))
  log.info(\`weights: \${weights.join(' ')}, loss: \${result.train.at(4).getNumber('loss').toFixed(3)}\`)
})
`

const clients = {
  typescript: `import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const before = message.content.arrays('arrays').getArray('w').values('float32')
  const arrays = new ArrayRecord({ w: NdArray.from(before.map((value) => value + 0.25)) })
  return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 4, loss: 0.5 }) }))
})
`,
  python: `from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 0.25)})
    metrics = MetricRecord({"num-examples": 4, "loss": 0.5})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
`,
} as const

/** What the run logs at its end. */
export const asyncResult = /weights: 1\.000 11\.000, loss: 0\.500/

/** Writes the app, with a ClientApp in that language. Returns its folder. */
export function writeAsyncApp(folder: string, { client, nodes }: { client: Language; nodes: number }): string {
  return writeMixedApp(folder, {
    server: { language: 'typescript', source: server },
    client: { language: client, source: clients[client] },
    config: `nodes = ${nodes}`,
  })
}
