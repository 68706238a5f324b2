import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** The language that a component is written in. */
export type Language = 'python' | 'typescript'

/** Values that round when they are computed with: an app that counts in another precision ends at other bits. */
const initial = { single: [0.1, 1e-8, 16_777_216], double: [0.1, 1e-300, -2.5] }
const rounds = 2

/**
 * Writes an app whose two components are in languages of choice and do the same: each node adds a tenth to every weight,
 * FedAvg averages, and the digest of the final bytes is in the log. Returns its folder.
 */
export function writeBilingualApp(folder: string, languages: { server: Language; client: Language }): string {
  const reference = (component: 'server' | 'client'): string =>
    languages[component] === 'python' ? `app.${component}:app` : `app/${component}.ts:app`
  mkdirSync(join(folder, 'app'), { recursive: true })
  writeFileSync(
    join(folder, 'pyproject.toml'),
    `[project]
name = "${basename(folder)}"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "test"
[tool.flwr.app.components]
serverapp = "${reference('server')}"
clientapp = "${reference('client')}"
[tool.flwr.app.config]
rounds = ${rounds}
nodes = 2
`,
  )
  writeFileSync(join(folder, 'app', '__init__.py'), '')
  for (const component of ['server', 'client'] as const) {
    const language = languages[component]
    const file = `${component}.${language === 'python' ? 'py' : 'ts'}`
    writeFileSync(join(folder, 'app', file), sources[component][language])
  }
  return folder
}

/** What the ServerApp must have written, worked out here. */
export function expectedDigest(): string {
  const single = Float32Array.from(initial.single)
  const double = Float64Array.from(initial.double)
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < single.length; index++) {
      single[index] = Math.fround((single[index] as number) + Math.fround(0.1))
      double[index] = (double[index] as number) + 0.1
    }
  }
  return createHash('sha256').update(Buffer.from(single.buffer)).update(Buffer.from(double.buffer)).digest('hex')
}

const sources = {
  server: {
    python: `import hashlib
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    nodes = int(context.run_config["nodes"])
    arrays = ArrayRecord({
        "single": Array(np.array(${JSON.stringify(initial.single)}, dtype=np.float32)),
        "double": Array(np.array(${JSON.stringify(initial.double)}, dtype=np.float64)),
    })
    strategy = FedAvg(
        fraction_evaluate=0.0, min_train_nodes=nodes, min_evaluate_nodes=nodes, min_available_nodes=nodes
    )
    result = strategy.start(grid, arrays, num_rounds=int(context.run_config["rounds"]))
    digest = hashlib.sha256()
    for name in ("single", "double"):
        digest.update(result.arrays[name].numpy().tobytes())
    print(f"digest: {digest.hexdigest()}", flush=True)
`,
    typescript: `import { createHash } from 'node:crypto'
import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig.nodes)
  const strategy = new FedAvg({
    fractionEvaluate: 0, minAvailableNodes: nodes, minTrainNodes: nodes, minEvaluateNodes: nodes,
  })
  const arrays = new ArrayRecord({
    single: NdArray.from(new Float32Array(${JSON.stringify(initial.single)})),
    double: NdArray.from(new Float64Array(${JSON.stringify(initial.double)})),
  })
  const result = await strategy.start(grid, arrays, { numRounds: Number(context.runConfig.rounds) })
  const digest = createHash('sha256')
  for (const [name, kind] of [['single', Float32Array], ['double', Float64Array]] as const)
    digest.update(Buffer.from(kind.from(result.arrays.get(name).values()).buffer))
  log.info(\`digest: \${digest.digest('hex')}\`)
})
`,
  },
  client: {
    python: `from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    arrays = message.content["arrays"]
    trained = {name: Array(array.numpy() + array.numpy().dtype.type(0.1)) for name, array in arrays.items()}
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics}), reply_to=message)
`,
    typescript: `import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message) => {
  const arrays = message.content.arrays('arrays')
  const single = Float32Array.from(arrays.get('single').values(), (value) => value + Math.fround(0.1))
  const double = Float64Array.from(arrays.get('double').values(), (value) => value + 0.1)
  const trained = new ArrayRecord({ single: NdArray.from(single), double: NdArray.from(double) })
  return message.reply(new RecordDict({ arrays: trained, metrics: new MetricRecord({ 'num-examples': 1 }) }))
})
`,
  },
} as const
