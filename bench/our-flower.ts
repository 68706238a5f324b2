import { execFileSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { generateNodeKey } from '../src/identity/node-key.ts'
import { writeApp } from '../test/harness/write-app.ts'
import type { Flower } from './deployment.ts'

/** Trellis as an operator starts it: the packed release, mutual TLS, state in a file. */
export function ourFlower(directory: string): Flower {
  return ourFlowerAt(unpackRelease(directory))
}

/** The same with the programs of a folder, e.g. those of the source tree. */
export function ourFlowerAt(bin: string): Flower {
  return { ...trellis, bin }
}

/** What `npm install` would put there, with the packages of this clone. */
function unpackRelease(directory: string): string {
  const root = join(import.meta.dirname, '..')
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: root })
  execFileSync('tar', ['-xzf', join(directory, packed.toString().trim().split('\n').at(-1) ?? ''), '-C', directory])
  symlinkSync(join(root, 'node_modules'), join(directory, 'package', 'node_modules'))
  return join(directory, 'package', 'bin')
}

const trellis: Omit<Flower, 'bin'> = {
  runtimeAddress: (port) => ['--port', String(port)],
  environment: {},
  async superlinkArguments(ca) {
    const { certfile, keyfile } = await ca.server()
    return [
      '--ssl-ca-certfile',
      ca.certfile,
      '--ssl-certfile',
      certfile,
      '--ssl-keyfile',
      keyfile,
      '--ssl-require-client-auth',
    ]
  },
  async supernodeArguments(ca, name) {
    const { certfile, keyfile } = await ca.issue(name)
    return ['--root-certificates', ca.certfile, '--ssl-client-certfile', certfile, '--ssl-client-keyfile', keyfile]
  },
  async connection(ca) {
    const { certfile, keyfile } = await ca.issue('cli')
    return `root-certificates = "${ca.certfile}"\nclient-certificate = "${certfile}"\nclient-private-key = "${keyfile}"`
  },
  ready: /Starting API on/,
  async loadCredential(ca, name = 'load') {
    const { issued } = await ca.issue(name)
    return { certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem }, key: generateNodeKey() }
  },
  signsCalls: false,
  writeApp: (directory, { floats, rounds }) =>
    writeApp(join(directory, 'app'), { server, client, config: `floats = ${floats}\nrounds = ${rounds}` }),
}

/** No two chunks of a model are alike, and no two replies: equal ones would be sent and stored once. */
const server = `
import { ArrayRecord, FedAvg, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const weights = NdArray.build('float32', [Number(context.runConfig.floats)], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = index % 1_000_003
  })
  const strategy = new FedAvg({ fractionEvaluate: 0 })
  await strategy.start(grid, new ArrayRecord({ w: weights }), { numRounds: Number(context.runConfig.rounds) })
})
`

const client = `
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train((message, context) => {
  const weights = message.content.arrays('arrays').get('w').values()
  const step = 1 + Number(context.nodeId % 997n)
  const next = NdArray.build('float32', [weights.length], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = weights[index] + step
  })
  const metrics = new MetricRecord({ 'num-examples': 1 })
  return message.reply(new RecordDict({ arrays: new ArrayRecord({ w: next }), metrics }))
})
`
