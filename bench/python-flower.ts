import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateNodeKey } from '../src/identity/node-key.ts'
import type { Flower } from './deployment.ts'

/** Python Flower 1.29 from a virtual environment, with TLS and the automatic keys that it always has. */
export function pythonFlower(environment: string): Flower {
  return {
    bin: join(environment, 'bin'),
    runtimeAddress: (port) => ['--serverappio-api-address', `127.0.0.1:${port}`],
    environment: { PATH: `${join(environment, 'bin')}:${process.env.PATH}`, VIRTUAL_ENV: environment },
    async superlinkArguments(ca) {
      const { certfile, keyfile } = await ca.server()
      return ['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', certfile, '--ssl-keyfile', keyfile]
    },
    supernodeArguments: async (ca) => ['--root-certificates', ca.certfile],
    connection: async (ca) => `root-certificates = "${ca.certfile}"`,
    ready: /Starting Fleet API/,
    loadCredential: async () => ({ key: generateNodeKey() }),
    signsCalls: true,
    writeApp(directory, { floats, rounds }) {
      const folder = join(directory, 'pyapp')
      mkdirSync(join(folder, 'pyapp'), { recursive: true })
      writeFileSync(join(folder, 'pyproject.toml'), pythonProject('pyapp', `floats = ${floats}\nrounds = ${rounds}`))
      writeFileSync(join(folder, 'pyapp', '__init__.py'), '')
      writeFileSync(join(folder, 'pyapp', 'server.py'), server)
      writeFileSync(join(folder, 'pyapp', 'client.py'), client)
      return folder
    },
  }
}

/** `pyproject.toml` of an app in Python: a package of its name with `server.py` and `client.py`, and lines of configuration. */
export function pythonProject(name: string, config: string): string {
  return `[project]
name = "${name}"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "${name}.server:app"
clientapp = "${name}.client:app"
[tool.flwr.app.config]
${config}
`
}

const server = `import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    weights = np.arange(int(context.run_config["floats"]), dtype=np.float32)
    weights %= 1_000_003
    FedAvg(fraction_evaluate=0.0).start(
        grid, ArrayRecord({"w": Array(weights)}), num_rounds=int(context.run_config["rounds"])
    )
`

const client = `from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict, Message
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    weights = message.content["arrays"]["w"].numpy() + float(1 + context.node_id % 997)
    return Message(
        RecordDict({"arrays": ArrayRecord({"w": Array(weights)}), "metrics": MetricRecord({"num-examples": 1})}),
        reply_to=message,
    )
`
