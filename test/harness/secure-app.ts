import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Language } from './bilingual-app.ts'
import { writeMixedApp } from './python-apps.ts'

/**
 * An app with secure aggregation: each node adds a quarter to every weight, and reports a loss of 0.5. After two rounds the
 * weights are 0.5 and 10.5.
 */
const server = `import { ArrayRecord, FedAvg, log, NdArray, SecureAggregation, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig.nodes)
  const inner = new FedAvg({ fractionEvaluate: 0, minAvailableNodes: nodes, minTrainNodes: nodes })
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const result = await new SecureAggregation(inner, { maxWeight: 10 }).start(grid, initial, { numRounds: 2 })
  const weights = [...result.arrays.getArray('w').values('float32')].map((value) => value.toFixed(3))
  log.info(\`weights: \${weights.join(' ')}, loss: \${result.trainMetricsClientapp.get(2)?.getNumber('loss').toFixed(3)}\`)
})
`

const clients = {
  typescript: `import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict, secureAggregation } from 'trellis-fl'
export const app = new ClientApp({ mods: [secureAggregation()] }).train((message) => {
  const before = message.content.arrays('arrays').getArray('w').values('float32')
  const arrays = new ArrayRecord({ w: NdArray.from(before.map((value) => value + 0.25)) })
  return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 4, loss: 0.5 }) }))
})
`,
  python: `from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .secure_aggregation import secure_aggregation_mod

app = ClientApp(mods=[secure_aggregation_mod])

@app.train()
def train(message, context):
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 0.25)})
    metrics = MetricRecord({"num-examples": 4, "loss": 0.5})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
`,
} as const

/** What the run logs at its end. */
export const secureResult = /weights: 0\.500 10\.500, loss: 0\.500/

/** Writes the app, with a ClientApp in that language. Returns its folder. */
export function writeSecureApp(folder: string, { client, nodes }: { client: Language; nodes: number }): string {
  const app = writeMixedApp(folder, {
    server: { language: 'typescript', source: server },
    client: { language: client, source: clients[client] },
    config: `nodes = ${nodes}`,
  })
  const mod = join(import.meta.dirname, '../../examples/secure-aggregation/secure_aggregation.py')
  if (client === 'python') copyFileSync(mod, join(app, 'app', 'secure_aggregation.py'))
  return app
}
