import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import {
  ClientApp,
  CompressedUpdates,
  FedAvg,
  InMemoryGrid,
  MetricRecord,
  type Mod,
  quantize,
  RecordDict,
  topK,
} from 'trellis-fl'
import { readShare, readTestSet } from './images.ts'
import { evaluate, fromArrays, initialNetwork, toArrays, train } from './network.ts'
import { createRandom } from './random.ts'

mock.method(process.stderr, 'write', () => true)

const nodes = 3
const numRounds = 10

/** Trains with a mod at each node. Returns the accuracy on images that no node has, and the bytes of all updates. */
async function trainWith(mod: Mod | undefined): Promise<{ accuracy: number; bytes: number }> {
  let bytes = 0
  const counting: Mod = async (message, context, next) => {
    const reply = await next(message, context)
    for (const array of reply.content.arrays('arrays').values()) bytes += array.data.length
    return reply
  }
  const app = new ClientApp({ mods: mod ? [counting, mod] : [counting] }).train((message, context) => {
    const { train: images } = readShare(context.config.node.integer('partition-id'), nodes)
    const network = fromArrays(message.content.arrays('arrays'))
    const seed = message.content.config('config').getNumber('server-round')
    train(network, images, { epochs: 1, learningRate: 0.2, batchSize: 32, seed })
    const metrics = new MetricRecord({ 'num-examples': images.count })
    return message.reply(new RecordDict({ arrays: toArrays(network), metrics }))
  })
  const grid = new InMemoryGrid(
    Array.from({ length: nodes }, (_, node) => ({ app, nodeConfig: { 'partition-id': BigInt(node) } })),
  )
  const strategy = new CompressedUpdates(new FedAvg({ fractionEvaluate: 0 }))
  const { arrays } = await strategy.start(grid, toArrays(initialNetwork(1)), { numRounds })
  return { accuracy: evaluate(fromArrays(arrays), readTestSet()).accuracy, bytes }
}

test('on the digits, 8 bits lose half a point of accuracy at most with a quarter of the bytes, and the largest tenth two points with a fifth', async () => {
  const plain = await trainWith(undefined)
  assert.ok(plain.accuracy > 0.9, `${plain.accuracy}`)
  const cases: { name: string; mod: Mod; lost: number; size: number }[] = [
    { name: '8 bits', mod: quantize({ bits: 8, random: createRandom(8) }), lost: 0.005, size: 0.25 },
    { name: 'the largest tenth', mod: topK({ fraction: 0.1 }), lost: 0.02, size: 0.2 },
  ]
  for (const { name, mod, lost, size } of cases) {
    const { accuracy, bytes } = await trainWith(mod)
    assert.ok(accuracy >= plain.accuracy - lost, `${name}: ${accuracy}, without: ${plain.accuracy}`)
    assert.ok(bytes < size * plain.bytes, `${name}: ${bytes} of ${plain.bytes} bytes`)
  }
})
