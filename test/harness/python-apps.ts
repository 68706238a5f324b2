import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Python sources of the apps in `apps.ts`: what they compute and log is the same. */

/** Averages what the nodes send for `rounds` rounds; the final weights are in the log. */
export const countingServerPython = `import logging
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common.logger import log
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    nodes = int(context.run_config.get("nodes", 2))
    strategy = FedAvg(min_available_nodes=nodes, min_train_nodes=nodes, min_evaluate_nodes=nodes)
    arrays = {"w": Array(np.array([0, 10], dtype=np.float32))}
    if ballast := int(context.run_config.get("ballast", 0)):
        arrays["ballast"] = Array(np.zeros(ballast, dtype=np.float32))
    result = strategy.start(grid, ArrayRecord(arrays), num_rounds=int(context.run_config.get("rounds", 2)))
    values = result.arrays["w"].numpy()
    log(logging.INFO, "weights: %s", " ".join(f"{value:g}" for value in values))
`

/** Adds one to every weight, and counts its rounds in the state of the node. */
export const countingClientPython = `import time
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    seen = int(context.state["seen"]["count"]) + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"count": seen})
    time.sleep(float(context.run_config.get("pause-ms", 0)) / 1000)
    arrays = {name: Array(array.numpy() + 1) for name, array in message.content["arrays"].items()}
    metrics = MetricRecord({"num-examples": 1, "seen": seen})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

@app.evaluate()
def evaluate(message, context):
    return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1, "loss": 0.5})}), reply_to=message)
`

/** A component of an app in one of both languages. */
export interface Component {
  readonly language: 'python' | 'typescript'
  readonly source: string
}

export interface MixedAppSources {
  readonly server: Component
  readonly client: Component
  /** Source of the TypeScript twin of a client in Python. */
  readonly twin?: string
  /** Lines of \`[tool.flwr.app.config]\`. */
  readonly config?: string
  /** What the app needs beside Flower, as Python writes requirements. */
  readonly dependencies?: readonly string[]
}

/** Writes an app named like its folder whose components are in any language. Returns the folder. */
export function writeMixedApp(
  folder: string,
  { server, client, twin, config = '', dependencies = [] }: MixedAppSources,
): string {
  mkdirSync(join(folder, 'app'), { recursive: true })
  const place = (role: 'server' | 'client', { language, source }: Component): string => {
    writeFileSync(join(folder, 'app', language === 'python' ? `${role}.py` : `${role}.ts`), source)
    return language === 'python' ? `app.${role}:app` : `app/${role}.ts:app`
  }
  writeFileSync(join(folder, 'app', '__init__.py'), '')
  writeFileSync(
    join(folder, 'pyproject.toml'),
    `[project]
name = "${basename(folder)}"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = ${JSON.stringify(dependencies)}
[tool.flwr.app]
publisher = "test"
[tool.flwr.app.components]
serverapp = "${place('server', server)}"
clientapp = "${place('client', client)}"
${twin === undefined ? '' : `[tool.trellis.app.components]\nclientapp = "${place('client', { language: 'typescript', source: twin })}"`}
[tool.flwr.app.config]
${config}
`,
  )
  return folder
}
