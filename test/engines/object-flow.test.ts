import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Deployment } from '../harness/deployment.ts'
import { freePort } from '../harness/free-port.ts'
import { ObjectServer, objectServerKeys, withoutObjectServers } from '../harness/object-server.ts'
import { startPython, withoutReleases } from '../harness/python-flower.ts'

/** A deployment whose SuperLink keeps large objects in a bucket. */

const skip = withoutObjectServers || withoutReleases('1.41')
const floats = 5_000_000
let server: ObjectServer
let deployment: Deployment
let url = ''

before(async () => {
  if (skip) return
  deployment = await Deployment.create({
    superlinkArguments: async ({ directory }) => {
      server ??= await ObjectServer.start(directory.file('s3'))
      url = server.url('fleet-1')
      return ['--fleet-api-type', 'rest', '--storage', url, '--storage-dir', directory.file('cache')]
    },
    superlinkEnvironment: {
      AWS_ACCESS_KEY_ID: objectServerKeys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: objectServerKeys.secretAccessKey,
    },
  })
})
after(async () => {
  await deployment?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

/** The ServerApp is in TypeScript, and the ClientApp in Python. */
function writeAddingApp(folder: string): string {
  mkdirSync(join(folder, 'app'), { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  write(
    'pyproject.toml',
    `[project]
name = "adding"
version = "1.0.0"
description = ""
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "test"
[tool.flwr.app.components]
serverapp = "app/server.ts:app"
clientapp = "app.client:app"
[tool.flwr.app.config]
`,
  )
  write('app/__init__.py', '')
  write(
    'app/server.ts',
    `import { ArrayRecord, FedAvg, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const strategy = new FedAvg({ fractionEvaluate: 0, minAvailableNodes: 1, minTrainNodes: 1 })
  const w = NdArray.build('float32', [${floats}], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = index % 1000
  })
  const { arrays } = await strategy.start(grid, new ArrayRecord({ w }), { numRounds: 3 })
  const values = arrays.get('w').values()
  log.info(\`values: \${values.length} \${values[0]} \${values.at(-1)}\`)
})
`,
  )
  write(
    'app/client.py',
    `from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 1)})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)
`,
  )
  return folder
}

/** What other programs can read of the programs that the SuperLink and the SuperNode have started. */
function readChildren(): string[] {
  return ['superexec', 'flwr-serverapp'].flatMap((name) =>
    deployment.children(name).flatMap((pid) => {
      try {
        return [['cmdline', 'environ'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8')).join('\n')]
      } catch {
        // It has ended meanwhile.
        return []
      }
    }),
  )
}

test('a SuperLink that was killed and lost its copies completes the training of a Python SuperNode, and the keys appear nowhere', {
  skip,
}, async () => {
  const { directory, environment } = deployment
  await using node = startPython(
    '1.41',
    'flower-supernode',
    ['--insecure', '--superlink', deployment.fleetAddress, '--port', String(await freePort())],
    { env: environment },
  )
  await node.line(/SuperNode ID: (\d+)/)
  const running = deployment.start('flwr', ['run', writeAddingApp(directory.file('adding')), '--stream'])
  await running.line(/ROUND 2\/3/)
  const ofChildren = readChildren()
  const [first] = [deployment.superlink]
  first.kill('SIGKILL')
  await first.end()
  rmSync(directory.file('cache'), { recursive: true })
  await deployment.startSuperlink()
  const status = await running.end(240_000)
  await running.heard()
  const { said } = running
  assert.equal(status, 0, `${said}\n${deployment.superlink.said}\n${node.said}`)
  assert.match(said, new RegExp(`values: ${floats} 3 ${((floats - 1) % 1000) + 3}`))
  const { pid } = deployment.superlink
  const shown = [first.said, deployment.superlink.said, said, readFileSync(`/proc/${pid}/cmdline`, 'utf8')]
  // At least the SuperExec of the SuperLink and the ServerApp.
  assert.ok(ofChildren.length >= 2, String(ofChildren))
  for (const text of [...shown, ...ofChildren]) assert.doesNotMatch(text, new RegExp(objectServerKeys.secretAccessKey))
})
