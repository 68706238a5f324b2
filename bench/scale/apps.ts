import { pythonProject } from '../python-flower.ts'

/**
 * One round after the other, each with its time, so that memory and time of the first can be set beside those of the last. After
 * both it rests, because memory is compared at rest.
 */
export const scaleServer = `
import { ArrayRecord, FedAvg, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig.nodes)
  let arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(1024)) })
  const rounds = Number(context.runConfig.rounds)
  for (let round = 1; round <= rounds; round++) {
    const startedAt = performance.now()
    const strategy = new FedAvg({ fractionEvaluate: 0, minTrainNodes: nodes, minAvailableNodes: nodes })
    const result = await strategy.start(grid, arrays, { numRounds: 1 })
    arrays = result.arrays
    console.log('bench: round ' + round + ' took ' + (performance.now() - startedAt).toFixed(1) + ' ms')
    const pause = round === 1 || round === rounds ? 'rest-ms' : 'pause-ms'
    await new Promise((resolve) => setTimeout(resolve, Number(context.runConfig[pause])))
  }
})
`

/** No process runs it: the nodes are simulated. */
export const scaleClient = `
import { ClientApp } from 'trellis-fl'
export const app = new ClientApp()
`

/** The same app for Python Flower, by file. */
export function pythonApp(config: string): Readonly<Record<string, string>> {
  return {
    'pyproject.toml': pythonProject('scaleapp', config),
    'scaleapp/__init__.py': '',
    'scaleapp/client.py': 'from flwr.clientapp import ClientApp\n\napp = ClientApp()\n',
    'scaleapp/server.py': `import time
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    nodes = int(context.run_config["nodes"])
    arrays = ArrayRecord({"w": Array(np.zeros(1024, dtype=np.float32))})
    rounds = int(context.run_config["rounds"])
    for number in range(1, rounds + 1):
        started = time.monotonic()
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
        arrays = strategy.start(grid, arrays, num_rounds=1).arrays
        print(f"bench: round {number} took {(time.monotonic() - started) * 1000:.1f} ms", flush=True)
        pause = "rest-ms" if number in (1, rounds) else "pause-ms"
        time.sleep(float(context.run_config[pause]) / 1000)
`,
  }
}
