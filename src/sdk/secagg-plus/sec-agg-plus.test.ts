import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { Context } from '../../message/context.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp, type Mod } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { secAggPlus } from '../mods/sec-agg-plus.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { flowerRecordKey } from './flower-round.ts'
import { joinForFlower } from './flower-shares.ts'
import { SecAggPlus } from './sec-agg-plus.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)

/** Changes what a node replies in one stage. */
const replyingWith =
  (stage: string, change: (record: ConfigRecord) => void): Mod =>
  async (message, context, next) => {
    const reply = await next(message, context)
    if (message.content.config(flowerRecordKey).get('stage') === stage) change(reply.content.config(flowerRecordKey))
    return reply
  }

/** Each node adds its number to the model. */
const nodeAdding = (number: number, mods: readonly Mod[] = []): ClientApp =>
  new ClientApp({ mods: [...mods, secAggPlus()] }).train((message) => {
    const [array] = [...message.content.arrays('arrays').values()] as [NdArray]
    const arrays = new ArrayRecord({ own: NdArray.from(array.values('float64').map((value) => value + number)) })
    return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': 1 }) }))
  })

async function trained(apps: readonly ClientApp[]): Promise<number> {
  const strategy = new SecAggPlus(new FedAvg({ fractionEvaluate: 0, minTrainNodes: 1, minAvailableNodes: 1 }), {
    maxWeight: 1,
  })
  const model = new ArrayRecord({ w: NdArray.from(new Float64Array([0])) })
  const grid = new InMemoryGrid(apps.map((app) => ({ app })))
  const { arrays } = await strategy.start(grid, model, { numRounds: 1 })
  return Math.round((arrays.getArray('w').values('float64')[0] as number) * 1000) / 1000
}

test('a node whose reply does not fit is left out of SecAgg+, with the reason', async () => {
  const parts = (record: ConfigRecord): Uint8Array[] => record.get('masked_params') as Uint8Array[]
  const npy = (values: BigInt64Array | Float64Array): Uint8Array => NdArray.from(values).data
  const cases: [stage: string, change: (record: ConfigRecord) => void, reason: RegExp, mean: number][] = [
    ['setup', (record) => record.set('pk1', new Uint8Array(9)), /no public keys of the curve/, 3],
    ['setup', (record) => record.delete('pk2'), /pk2/, 3],
    ['share_keys', (record) => record.set('dsts', [3n]), /'dsts' and 'ctxts' do not fit/, 3],
    ['share_keys', (record) => record.set('dsts', [3n]).set('ctxts', [new Uint8Array(9)]), /no shares for some/, 3],
    ['collect_masked_vectors', (record) => record.delete('masked_params'), /no 'masked_params'/, 3],
    ['collect_masked_vectors', (record) => record.set('masked_params', parts(record).slice(1)), /other arrays/, 3],
    [
      'collect_masked_vectors',
      (record) => record.set('masked_params', [parts(record)[0] as Uint8Array, npy(new BigInt64Array(2))]),
      /other arrays/,
      3,
    ],
    [
      'collect_masked_vectors',
      (record) => record.set('masked_params', [parts(record)[0] as Uint8Array, npy(Float64Array.of(Number.NaN))]),
      /not whole/,
      3,
    ],
    [
      'collect_masked_vectors',
      (record) => record.set('masked_params', [parts(record)[0] as Uint8Array, new Uint8Array(7)]),
      /left out of SecAgg\+ \(collect_masked_vectors\)/,
      3,
    ],
    // Its update is in the sum already.
    ['unmask', (record) => record.set('nids', []).set('shares', []), /no shares of some nodes/, 2.5],
  ]
  for (const [stage, change, reason, mean] of cases) {
    lines = []
    const apps = [1, 2, 3, 4].map((number) => nodeAdding(number, number === 1 ? [replyingWith(stage, change)] : []))
    assert.equal(await trained(apps), mean, String(reason))
    assert.match(lines.join(''), reason)
  }
})

const sendingWrong = replyingWith('unmask', (record) => {
  const shares = record.get('shares') as Uint8Array[]
  record.set(
    'shares',
    shares.map((share) => share.map((byte, index) => (index < 4 ? byte : byte ^ 1))),
  )
})

test('a node that sends shares that do not fit together is left out of SecAgg+ and named, and its update counts', async () => {
  for (const wrong of [1, 2, 3, 4]) {
    lines = []
    const apps = [1, 2, 3, 4].map((number) => nodeAdding(number, number === wrong ? [sendingWrong] : []))
    assert.equal(await trained(apps), 2.5)
    // With three of four nodes, the shares of the last are not needed.
    if (wrong < 4)
      assert.match(lines.join(''), new RegExp(`Node ${wrong + 1} is left out of SecAgg\\+ \\(unmask\\): its shares`))
  }
})

test('a wrong share of the key of a lost node is left out of SecAgg+ too', async () => {
  const silent: Mod = async (message, context, next) => {
    if (message.content.config(flowerRecordKey).get('stage') === 'collect_masked_vectors') throw new Error('gone')
    return next(message, context)
  }
  const mods = [[], [], [sendingWrong], [], [silent]]
  assert.equal(await trained(mods.map((own, index) => nodeAdding(index + 1, own))), 2.5)
})

test('if too few nodes are left to do without wrong shares, SecAgg+ ends with an error that says so', async () => {
  const apps = [1, 2, 3].map((number) => nodeAdding(number, [sendingWrong]))
  await assert.rejects(trained(apps), { name: 'AggregationError', message: /shares of node 2 do not fit together/ })
  assert.throws(() => joinForFlower([]), /not of one secret/)
})

test('SecAgg+ with one node is refused: it would hide nothing', async () => {
  await assert.rejects(trained([nodeAdding(1)]), /SecAggPlus: 1 nodes were sampled, but a round needs 2 or more/)
})

test('a node refuses settings of SecAgg+ that hide nothing or never end', async () => {
  const app = nodeAdding(1)
  const reasonFor = async (settings: Record<string, number | bigint>): Promise<string | undefined> => {
    const record = new ConfigRecord({
      ...{ stage: 'setup', share_num: 3, threshold: 2, clipping_range: 8, target_range: 2 ** 22 },
      ...{ mod_range: 2 ** 32, max_weight: 1000, ...settings },
    })
    const content = new RecordDict([[flowerRecordKey, record]])
    const message = Message.create({ content, messageType: 'train', dstNodeId: 5n })
    return (await app.handle(message, { nodeId: 5n, state: new RecordDict() } as Context)).error?.reason
  }
  assert.equal(await reasonFor({}), undefined)
  for (const mod_range of [0, 1, 2, 12, 2 ** 33]) assert.match((await reasonFor({ mod_range })) ?? '', /mod_range/)
  for (const threshold of [1, 1001]) assert.match((await reasonFor({ threshold })) ?? '', /threshold/)
  for (const share_num of [1, 10n ** 9n]) assert.match((await reasonFor({ share_num })) ?? '', /share_num/)
})
