import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { Context } from '../../src/message/context.ts'
import { Message } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../src/message/records.ts'
import { ClientApp } from '../../src/sdk/client-app.ts'
import { InMemoryGrid } from '../../src/sdk/in-memory-grid.ts'
import { secAggPlus } from '../../src/sdk/mods/sec-agg-plus.ts'
import { fernetDecrypt, fernetEncrypt, flowerSecret, newFlowerKeys } from '../../src/sdk/secagg-plus/flower-keys.ts'
import { flowerMask } from '../../src/sdk/secagg-plus/flower-masks.ts'
import { joinForFlower, splitForFlower } from '../../src/sdk/secagg-plus/flower-shares.ts'
import { SecAggPlus } from '../../src/sdk/secagg-plus/sec-agg-plus.ts'
import { FedAvg } from '../../src/sdk/strategy/fed-avg.ts'
import { readVectors } from './vectors.ts'

/** SecAgg+ as Flower's Python package does it, recorded by `make-vectors.py`. */
interface SecAggPlusCase {
  readonly private: string
  readonly public: string
  readonly key: string
  readonly token: string
  readonly secret: string
  readonly shares: readonly string[]
  readonly masks: readonly (readonly [modulus: number, arrays: readonly number[][]])[]
}

const [vector] = readVectors<SecAggPlusCase>('secagg-plus.jsonl') as [SecAggPlusCase]
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

test('secrets and tokens are those of Flower', () => {
  const secret = flowerSecret(bytes(vector.private), bytes(vector.public))
  assert.equal(Buffer.from(secret).toString(), vector.key)
  assert.equal(Buffer.from(fernetDecrypt(secret, bytes(vector.token)) ?? []).toString(), 'shares')
  assert.deepEqual(fernetDecrypt(secret, fernetEncrypt(secret, bytes('again'))), bytes('again'))
  const other = flowerSecret(newFlowerKeys().privateKey, bytes(vector.public))
  assert.equal(fernetDecrypt(other, bytes(vector.token)), undefined)
})

test('shares of Flower give its secret, and so do ours', () => {
  const shares = vector.shares.map((share) => Uint8Array.from(Buffer.from(share, 'hex')))
  const chosen = [3, 0, 2].map((place) => shares[place] as Uint8Array)
  assert.equal(Buffer.from(joinForFlower(chosen)).toString(), vector.secret)
  const secret = bytes(vector.private)
  const own = splitForFlower(secret, 2, 3)
  assert.deepEqual(joinForFlower([own[2], own[0]] as Uint8Array[]), secret)
})

test('masks are the numbers that numpy draws', () => {
  for (const [modulus, arrays] of vector.masks) {
    const masks = flowerMask(
      bytes(vector.key),
      modulus,
      arrays.map(({ length }) => length),
    )
    assert.deepEqual(
      masks.map((mask) => [...mask]),
      arrays,
    )
  }
})

test('the mod warns once what it is worth, and refuses stages out of order and training in the clear', async () => {
  const lines: string[] = []
  mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
  const app = new ClientApp({ mods: [secAggPlus()] }).train((message) => message.reply(new RecordDict()))
  const context = { nodeId: 5n, state: new RecordDict() } as Context
  const reasonFor = async (records: RecordDict): Promise<string | undefined> => {
    const message = Message.create({ content: records, messageType: 'train', dstNodeId: 5n })
    return (await app.handle(message, context)).error?.reason
  }
  const asked = (stage: string) => new RecordDict({ secaggplus_configs: new ConfigRecord({ stage }) })
  assert.match((await reasonFor(new RecordDict())) ?? '', /trains under SecAgg\+ only/)
  assert.match((await reasonFor(asked('unmask'))) ?? '', /refuses the stage 'unmask' of SecAgg\+ after 'unmask'/)
  assert.equal(lines.filter((line) => line.includes('seeds of 32 bits')).length, 1)
})

test('SecAggPlus gives the mean of the nodes that sent their update, also if one is lost', async () => {
  mock.method(process.stderr, 'write', () => true)
  const nodeAdding = (number: number, isLost: boolean): ClientApp =>
    new ClientApp({ mods: [secAggPlus()] }).train((message) => {
      if (isLost) throw new Error('lost')
      const [array] = [...message.content.arrays('arrays').values()] as [NdArray]
      const arrays = new ArrayRecord({
        own: NdArray.from(
          array.values('float64').map((value) => value + number),
          [2, 1],
        ),
      })
      return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': number }) }))
    })
  const apps = [1, 2, 3, 4].map((number) => ({ app: nodeAdding(number, number === 3) }))
  const model = new ArrayRecord({ w: NdArray.from(new Float64Array([0.5, -1.5]), [2, 1]) })
  const strategy = new SecAggPlus(new FedAvg({ fractionEvaluate: 0 }), { maxWeight: 5 })
  const { arrays } = await strategy.start(new InMemoryGrid(apps), model, { numRounds: 1 })
  const [first, second] = [...arrays.getArray('w').values('float64')] as [number, number]
  // (1 * 1 + 2 * 2 + 4 * 4) / 7
  assert.ok(Math.abs(first - 3.5) < 1e-4 && Math.abs(second - 1.5) < 1e-4, `${first}, ${second}`)
})
