import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { randomFrom, shuffle } from '../../../test/harness/random.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, type ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp, type Mod } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { fixedClipping } from '../mods/clipping-mods.ts'
import { secureAggregation } from '../mods/secure-aggregation.ts'
import {
  DifferentialPrivacyClientSideFixedClipping,
  DifferentialPrivacyServerSideFixedClipping,
} from '../privacy/dp-fixed-clipping.ts'
import { RdpAccountant } from '../privacy/rdp-accountant.ts'
import { random } from '../selection/policies.ts'
import { FedAdam } from '../strategy/fed-adam.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { FedMedian } from '../strategy/fed-median.ts'
import { Krum } from '../strategy/krum.ts'
import type { Strategy } from '../strategy/strategy.ts'
import { SecureAggregation, type SecureAggregationOptions } from './secure-aggregation.ts'
import { recordKey } from './wire.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)

const noEvaluation = { fractionEvaluate: 0 } as const

/** Arrays of three float types, one without axes and one of several. */
function modelOf(random: (below: number) => number): ArrayRecord {
  const draw = (count: number) => Array.from({ length: count }, () => random(1000) / 500 - 1)
  return new ArrayRecord({
    w: NdArray.from(new Float32Array(draw(12)), [3, 1, 4]),
    b: NdArray.from(new Float64Array(draw(2))),
    scale: NdArray.from(new Float16Array(draw(1)), []),
    empty: NdArray.from(new Float32Array(0), [0, 5]),
  })
}

interface Reply {
  readonly arrays: ArrayRecord
  readonly examples: number
  readonly loss: number
}

const nodeReplying = ({ arrays, examples, loss }: Reply, mods: readonly Mod[] = [secureAggregation()]): ClientApp =>
  new ClientApp({ mods }).train((message) => {
    const metrics = new MetricRecord({ 'num-examples': examples, loss, pair: [loss, 1] })
    return message.reply(new RecordDict({ a: arrays, m: metrics }))
  })

const stageOf = (message: Message): string | undefined =>
  message.content.configRecords.get(recordKey)?.getString('stage')

/** Loses the reply of a node in one stage. */
const losing =
  (stage: string | undefined): Mod =>
  async (message, context, next) => {
    if (stage && stageOf(message) === stage) return message.replyError({ code: 5, reason: 'lost' })
    return next(message, context)
  }

function replies(count: number, seed: number): Reply[] {
  const random = randomFrom(seed)
  return Array.from({ length: count }, () => ({
    arrays: modelOf(random),
    examples: 1 + random(100),
    loss: random(1000) / 250,
  }))
}

/** The weighted mean, computed in the clear. */
function meanOf(found: readonly Reply[], name: string): number[] {
  const total = found.reduce((sum, { examples }) => sum + examples, 0)
  const columns = found.map(({ arrays, examples }) => {
    const values = [...(arrays.getArray(name).values() as Float64Array)]
    return values.map((value) => (value * examples) / total)
  })
  return (columns[0] as number[]).map((_, index) => columns.reduce((sum, column) => sum + (column[index] as number), 0))
}

function assertClose(actual: ArrayRecord, expected: readonly Reply[], tolerance: number): void {
  for (const [name, array] of actual) {
    const mean = meanOf(expected, name)
    // A float16 is rounded to 2^-11 of its value.
    const most = name === 'scale' ? 1e-3 : tolerance
    const values = [...(array.values() as Float64Array)]
    assert.equal(values.length, mean.length)
    for (const [index, value] of values.entries())
      assert.ok(Math.abs(value - (mean[index] as number)) <= most, `${name}: ${value} is not ${mean[index]}`)
  }
}

test('100 nodes, 10 of which are lost in each stage, give the mean of those that sent their update', async () => {
  const all = replies(100, 1)
  const places = shuffle([...all.keys()], randomFrom(2))
  const lostIn = new Map(
    ['keys', 'shares', 'masked', 'unmask'].flatMap((stage, index) =>
      places.slice(index * 10, index * 10 + 10).map((place) => [place, stage] as const),
    ),
  )
  const nodes = all.map((reply, place) => ({
    app: nodeReplying(reply, [losing(lostIn.get(place)), secureAggregation()]),
  }))
  const grid = new InMemoryGrid(nodes)
  const strategy = new SecureAggregation(new FedAvg(noEvaluation), { maxWeight: 100, clippingRange: 2 })
  const start = modelOf(randomFrom(3))
  const result = await strategy.start(grid, start, { numRounds: 1 })
  // Whose reply to `unmask` is lost has sent its update, which counts.
  const counted = all.filter((_, place) => !['keys', 'shares', 'masked'].includes(lostIn.get(place) ?? ''))
  assert.equal(counted.length, 70)
  // Half a step for each node, divided by the sum of the shares of maxWeight; and the bits of float32.
  const shares = counted.reduce((sum, { examples }) => sum + examples / 100, 0)
  const step = 2 / (2 ** 21 - 1)
  assertClose(result.arrays, counted, ((step / 2) * counted.length) / shares + 1e-7)
  assert.deepEqual([...result.arrays.keys()], [...start.keys()])
  const metrics = result.trainMetricsClientapp.get(1) as MetricRecord
  const total = counted.reduce((sum, { examples }) => sum + examples, 0)
  const loss = counted.reduce((sum, reply) => sum + (reply.loss * reply.examples) / total, 0)
  assert.ok(Math.abs(metrics.getNumber('loss') - loss) < 1e-8)
  assert.deepEqual([...metrics.keys()], ['loss', 'pair'])
})

async function train(strategy: Strategy, apps: readonly ClientApp[], numRounds = 1) {
  const grid = new InMemoryGrid(apps.map((app) => ({ app })))
  return { grid, result: await strategy.start(grid, modelOf(randomFrom(3)), { numRounds }) }
}

const secure = (inner: Strategy = new FedAvg(noEvaluation), options: SecureAggregationOptions = {}) =>
  new SecureAggregation(inner, { clippingRange: 4, ...options })

test('FedAdam steps along the same mean with and without secure aggregation', async () => {
  const all = replies(4, 5)
  const options = { ...noEvaluation, eta: 0.01 }
  const hidden = await train(
    secure(new FedAdam(options), { bits: 28 }),
    all.map((reply) => nodeReplying(reply)),
    3,
  )
  const plain = await train(
    new FedAdam(options),
    all.map((reply) => nodeReplying(reply, [])),
    3,
  )
  const [own, other] = [hidden, plain].map(({ result }) => result.arrays.getArray('b').values('float64')) as [
    Float64Array,
    Float64Array,
  ]
  for (const [index, value] of own.entries()) assert.ok(Math.abs(value - (other[index] as number)) < 1e-4)
})

test('what the nodes send is masked, and metrics are in the sum only', async () => {
  const all = replies(3, 7)
  const sent: RecordDict[] = []
  const spy: Mod = async (message, context, next) => {
    const reply = await next(message, context)
    if (stageOf(message) === 'masked') sent.push(reply.content)
    return reply
  }
  // The same node twice: equal updates, and no equal numbers in what is sent.
  const apps = [all[0], all[0], all[1]].map((reply) => nodeReplying(reply as Reply, [spy, secureAggregation()]))
  await train(secure(), apps)
  assert.deepEqual([...(sent[0] as RecordDict).keys()], ['masked', recordKey])
  const [one, two] = sent.map((content) => content.arrays('masked').getArray('values').values('uint32')) as [
    Uint32Array,
    Uint32Array,
  ]
  assert.ok(one.filter((value, index) => value === two[index]).length < 2)
  const metrics = (sent[0] as RecordDict).arrays('masked').getArray('metrics').values('uint64')
  // In the clear they would be around 2^32.
  assert.ok(metrics.some((value) => value > 2n ** 50n))
})

test('below the threshold the round fails and says why, or is skipped', async () => {
  for (const stage of ['keys', 'shares', 'masked', 'unmask']) {
    lines = []
    const apps = replies(5, 9).map((reply, place) =>
      nodeReplying(reply, [losing(place < 3 ? stage : undefined), secureAggregation()]),
    )
    await assert.rejects(
      train(secure(), apps),
      new RegExp(`failed in the stage '${stage}': [02] nodes are left, and its threshold is 3`),
    )
    assert.ok(lines.some((line) => line.includes(`left out of secure aggregation (${stage}): lost`)))
    const { result } = await train(secure(undefined, { skipFailedRounds: true }), apps, 2)
    assert.deepEqual(result.arrays.getArray('b'), modelOf(randomFrom(3)).getArray('b'))
  }
})

test('ClientApps without the mod, and servers without the strategy, are refused with the remedy', async () => {
  const [reply] = replies(1, 11) as [Reply]
  const bare = nodeReplying(reply, [])
  await assert.rejects(train(secure(), [bare, bare]), /the ClientApp needs the mod secureAggregation\(\)/)
  lines = []
  await train(new FedAvg(noEvaluation), [nodeReplying(reply), nodeReplying(reply)])
  assert.ok(lines.some((line) => line.includes('trains under secure aggregation only')))
})

test('strategies and options that make no sense are refused when the app starts', async () => {
  assert.throws(() => secure(new FedMedian(noEvaluation)), /FedMedian looks at single replies/)
  assert.throws(() => secure(new Krum(noEvaluation)), /Krum looks at single replies/)
  const ownMetrics = new FedAvg({ ...noEvaluation, trainMetricsAggrFn: () => new MetricRecord() })
  assert.throws(() => secure(ownMetrics), /trainMetricsAggrFn of FedAvg/)
  assert.throws(() => secure(undefined, { threshold: 0.5 }), /threshold must be a number above 0.5/)
  const dp = { noiseMultiplier: 1, clippingNorm: 1, numSampledClients: 2 }
  assert.throws(() => new DifferentialPrivacyServerSideFixedClipping(secure(), dp), /ClientSideFixedClipping/)
  const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 2 })
  assert.throws(
    () => new DifferentialPrivacyClientSideFixedClipping(secure(), { ...dp, accountant }),
    /weighting: 'equal'/,
  )
  const counter = new ArrayRecord({ n: NdArray.from(new BigInt64Array(1)) })
  const apps = replies(2, 11).map((reply) => ({ app: nodeReplying(reply) }))
  await assert.rejects(secure().start(new InMemoryGrid(apps), counter), /'n' holds int64/)
})

test('differential privacy around secure aggregation bounds each node and adds its noise to the mean', async () => {
  const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 2 })
  const strategy = new DifferentialPrivacyClientSideFixedClipping(secure(undefined, { weighting: 'equal' }), {
    ...{ noiseMultiplier: 1e-9, clippingNorm: 0.001, numSampledClients: 2, accountant },
  })
  const apps = replies(2, 13).map((reply) => nodeReplying(reply, [secureAggregation(), fixedClipping]))
  const { result } = await train(strategy, apps)
  const [before, after] = [modelOf(randomFrom(3)), result.arrays].map((arrays) =>
    arrays.getArray('b').values('float64'),
  )
  const moved = Math.hypot(...[0, 1].map((index) => (after?.[index] as number) - (before?.[index] as number)))
  assert.ok(moved > 0 && moved < 0.0011, String(moved))
  assert.equal(accountant.numReleases, 1)
})

/** Changes the record of what a node replies in the stage `masked`. */
const replyingWith =
  (change: (content: RecordDict) => RecordDict): Mod =>
  async (message, context, next) => {
    const reply = await next(message, context)
    if (stageOf(message) !== 'masked') return reply
    return new Message(reply.metadata, { content: change(reply.content) })
  }

test('with an accountant a round that loses a node releases no model, and the training goes on', async () => {
  const ofOtherStage = replyingWith((content) => {
    content.config(recordKey).set('stage', 'keys')
    return content
  })
  const cases: [stage: string, lost: Mod][] = [
    ['keys', losing('keys')],
    ['shares', losing('shares')],
    ['masked', ofOtherStage],
  ]
  for (const [stage, lost] of cases) {
    lines = []
    const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 3 })
    const strategy = new DifferentialPrivacyClientSideFixedClipping(secure(undefined, { weighting: 'equal' }), {
      ...{ noiseMultiplier: 1, clippingNorm: 1, numSampledClients: 3, accountant },
    })
    let isLost = false
    const once: Mod = (message, context, next) => {
      if (isLost || stageOf(message) !== stage) return next(message, context)
      isLost = true
      return lost(message, context, next)
    }
    const apps = replies(3, 21).map((reply, place) =>
      nodeReplying(reply, [...(place === 0 ? [once] : []), secureAggregation(), fixedClipping]),
    )
    const { result } = await train(strategy, apps, 2)
    assert.equal(accountant.numReleases, 1)
    assert.deepEqual([...result.trainMetricsClientapp.keys()], [2])
    assert.match(lines.join(''), /2 nodes are (left in secure aggregation|in its mean), and the noise is made for/)
  }
})

test('over-selection waits for as many nodes as the threshold needs', async () => {
  const apps = replies(5, 23).map((reply) => ({ app: nodeReplying(reply) }))
  const faults = Object.fromEntries([1, 2, 3, 4, 5].map((delay) => [`node-${delay + 1}`, { delay }]))
  const grid = new InMemoryGrid(apps, { clock: 'virtual', faults })
  const select = random({ count: 2, overSelect: 2.5, seed: 1 })
  const { trainMetricsClientapp } = await secure().start(grid, modelOf(randomFrom(3)), { numRounds: 1, select })
  assert.equal(trainMetricsClientapp.size, 1)
})

test('a node whose masked reply does not fit is left out, and the round goes on without it', async () => {
  const all = replies(4, 25)
  const withRecord = (fields: Record<string, bigint[] | string[]>) => (content: RecordDict) => {
    for (const [key, value] of Object.entries(fields)) content.config(recordKey).set(key, value)
    return content
  }
  const withValues = (array: NdArray) => (content: RecordDict) => {
    content.arrays('masked').set('values', array)
    return content
  }
  const damaged = (content: RecordDict): NdArray => {
    const values = content.arrays('masked').getArray('values')
    return new NdArray({ ...values, dtype: 'uint32', shape: values.shape, data: values.data.slice(0, 9) })
  }
  const cases: [change: (content: RecordDict) => RecordDict, reason: RegExp][] = [
    [withRecord({ 'metric-names': ['x'], 'metric-lengths': [2n ** 30n] }), /other metrics \(x\) than most nodes/],
    [withRecord({ 'metric-names': ['a', 'b'], 'metric-lengths': [1n] }), /do not fit/],
    [withValues(NdArray.from(new Uint32Array(2))), /another number of values than the model has/],
    [(content) => withValues(damaged(content))(content), /left out of secure aggregation \(masked\)/],
  ]
  for (const [change, reason] of cases) {
    lines = []
    const apps = all.map((reply, place) =>
      nodeReplying(reply, [...(place === 0 ? [replyingWith(change)] : []), secureAggregation()]),
    )
    const { result } = await train(secure(), apps)
    assertClose(result.arrays, all.slice(1), 1e-3)
    assert.match(lines.join(''), reason)
  }
})

test('a node with more than maxWeight, unknown shapes or a number that is not finite is left out, with the reason', async () => {
  const good = replies(3, 15)
  const [first] = good as [Reply]
  const changed = (name: string, array: NdArray): Reply => ({
    ...first,
    arrays: new ArrayRecord([...first.arrays, [name, array]]),
  })
  const cases: [Reply, RegExp][] = [
    [{ ...first, examples: 2000 }, /'num-examples' of a node is above maxWeight \(1000\)/],
    [{ ...first, loss: Number.NaN }, /The metric 'loss' is NaN/],
    [
      changed('b', NdArray.from(new Float64Array([Number.NaN, 0]))),
      /'b' of the reply holds a number that is not finite/,
    ],
    [
      changed('b', NdArray.from(new Float64Array(3))),
      /'b' of the reply is float64 \(3\), but the model has float64 \(2\)/,
    ],
    [changed('more', NdArray.from(new Float64Array(3))), /other names than those of the model/],
  ]
  for (const [bad, reason] of cases) {
    lines = []
    const { result } = await train(
      secure(),
      [bad, ...good].map((reply) => nodeReplying(reply)),
    )
    assertClose(result.arrays, good, 1e-3)
    assert.match(lines.join(''), reason)
  }
})

/** Trains at three nodes, the first of which receives a changed message in one stage. Returns its reply's reason. */
async function refusalOf(stage: string, change: (record: ConfigRecord) => void): Promise<string | undefined> {
  let reason: string | undefined
  const hostile: Mod = async (message, context, next) => {
    if (stageOf(message) !== stage) return next(message, context)
    const record = message.content.config(recordKey).copy()
    change(record)
    const content = new RecordDict([...message.content, [recordKey, record] as const])
    const reply = await next(new Message(message.metadata, { content }), context)
    reason = reply.error?.reason
    return reply
  }
  const [first, ...others] = replies(3, 17) as [Reply, ...Reply[]]
  const apps = [nodeReplying(first, [hostile, secureAggregation()]), ...others.map((reply) => nodeReplying(reply))]
  await train(secure(undefined, { skipFailedRounds: true }), apps)
  return reason
}

const listIn = (record: ConfigRecord, key: string): Uint8Array[] => record.get(key) as Uint8Array[]

test('a node refuses a server that asks for what would reveal an update', async () => {
  const cases: [stage: string, change: (record: ConfigRecord) => void, refusal: RegExp][] = [
    ['keys', (record) => record.set('threshold', 1), /A threshold of 1 nodes does not hide/],
    [
      'shares',
      (record) => record.set('mask-keys', listIn(record, 'cipher-keys').toReversed()),
      /it has other keys for this node than the node has sent/,
    ],
    [
      'shares',
      (record) => record.set('nodes', listIn(record, 'nodes').fill(listIn(record, 'nodes')[0] as Uint8Array)),
      /a node is in it twice/,
    ],
    [
      'shares',
      (record) => {
        for (const key of ['nodes', 'cipher-keys', 'mask-keys'])
          record.set(key, [
            ...listIn(record, key),
            ...[1, 2].map((byte) =>
              new Uint8Array(key === 'nodes' ? 8 : 32).fill(key === 'mask-keys' ? byte + 2 : byte),
            ),
          ])
      },
      /its threshold of 2 is not more than half of 5 nodes/,
    ],
    [
      'masked',
      (record) => {
        for (const key of ['nodes', 'ciphertexts']) record.set(key, listIn(record, key).slice(0, 1))
      },
      /a round in which 1 nodes shared their keys: the threshold is 2/,
    ],
    [
      'masked',
      (record) =>
        record.set(
          'ciphertexts',
          listIn(record, 'ciphertexts').map((bytes) => bytes.toReversed()),
        ),
      /are not what that node has encrypted/,
    ],
    [
      'unmask',
      (record) => record.set('dropped', listIn(record, 'survivors').slice(1)),
      /refuses to give both secrets of one node/,
    ],
    [
      'unmask',
      (record) => record.set('survivors', listIn(record, 'survivors').slice(0, 1)),
      /a round in which 1 nodes sent their update/,
    ],
    [
      'unmask',
      (record) => record.set('survivors', listIn(record, 'survivors').slice(0, 2)),
      /refuses to unmask other nodes than/,
    ],
    ['unmask', (record) => record.set('session', new Uint8Array(16)), /this node has no keys for it/],
  ]
  for (const [stage, change, refusal] of cases) assert.match((await refusalOf(stage, change)) ?? 'no refusal', refusal)
})

test('a node refuses each stage of a round the second time', async () => {
  const refusals: string[] = []
  const twice: Mod = async (message, context, next) => {
    const reply = await next(message, context)
    if (stageOf(message)) refusals.push((await next(message, context)).error?.reason ?? 'no refusal')
    return reply
  }
  const apps = replies(2, 19).map((reply) => nodeReplying(reply, [twice, secureAggregation()]))
  await train(secure(), apps)
  assert.equal(refusals.length, 8)
  for (const refusal of refusals) assert.match(refusal, /refuses the stage '\w+' .* is done/)
})

test('a node that sends wrong shares of the key of a lost node is named, and the other shares are used', async () => {
  lines = []
  const all = replies(5, 31)
  const wrong: Mod = async (message, context, next) => {
    const reply = await next(message, context)
    if (stageOf(message) !== 'unmask') return reply
    const record = reply.content.config(recordKey)
    const shares = record.get('shares') as Uint8Array[]
    // The last share is of the node that was lost.
    record.set(
      'shares',
      shares.map((share, index) => (index === shares.length - 1 ? share.map((byte) => byte ^ 1) : share)),
    )
    return reply
  }
  const mods = [[wrong], [], [], [], [losing('masked')]]
  const { result } = await train(
    secure(),
    all.map((reply, place) => nodeReplying(reply, [...(mods[place] as Mod[]), secureAggregation()])),
  )
  assertClose(result.arrays, all.slice(0, 4), 1e-3)
  assert.match(lines.join(''), /Node \d+ is left out of the unmasking: its shares are wrong/)
})
