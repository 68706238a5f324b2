import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { all } from '../selection/policies.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { FedMedian } from '../strategy/fed-median.ts'
import type { Strategy } from '../strategy/strategy.ts'
import {
  DifferentialPrivacyClientSideAdaptiveClipping,
  DifferentialPrivacyServerSideAdaptiveClipping,
} from './dp-adaptive-clipping.ts'
import { DifferentialPrivacyServerSideFixedClipping } from './dp-fixed-clipping.ts'
import { RdpAccountant, type SamplingMethod } from './rdp-accountant.ts'
import { logHalfErfc } from './renyi.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)

interface AccountingCase {
  readonly method?: SamplingMethod
  readonly noise: number
  readonly count: number
  readonly rate: number | null
  readonly epsilons: readonly (readonly [delta: number, epsilon: number, order: number])[]
  readonly deltas: readonly (readonly [epsilon: number, delta: number])[]
}

test('epsilons and deltas are those of Google’s dp-accounting to 1e-9', () => {
  const file = readFileSync(join(import.meta.dirname, '../../../test/wire/accounting.jsonl'), 'utf8')
  for (const line of file.trimEnd().split('\n')) {
    const { method = 'poisson', noise, count, rate, epsilons, deltas } = JSON.parse(line) as AccountingCase
    const samplingMethod = rate === null ? 'no-amplification' : method
    const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 10_000, samplingMethod })
    accountant.compose({ noiseMultiplier: noise, sampleSize: Math.round((rate ?? 1) * 10_000) }, count)
    for (const [delta, epsilon, order] of epsilons) {
      const spent = accountant.privacySpent(delta)
      assert.ok(Math.abs(spent.epsilon - epsilon) <= 1e-9 * Math.max(1, epsilon), `${line}: ${spent.epsilon}`)
      assert.ok(Math.abs(spent.optimalOrder - order) < 1e-9)
    }
    for (const [epsilon, delta] of deltas) assert.ok(Math.abs(accountant.delta(epsilon) - delta) <= 1e-9, line)
  }
})

test('the complementary error function is right on both sides of its formulas', () => {
  // erfc(0) / 2, erfc(1.9999) / 2, erfc(2) / 2, erfc(30) / 2, and erfc(-1) / 2 = 1 - erfc(1) / 2.
  const expected: [x: number, log: number][] = [
    [0, -Math.LN2],
    [2, Math.log(0.004677734981047266 / 2)],
    [30, -904.6672642912041],
    [-1, Math.log1p(-0.15729920705028513 / 2)],
  ]
  for (const [x, log] of expected) assert.ok(Math.abs(logHalfErfc(x) - log) < 1e-12 * Math.max(1, -log), `${x}`)
  assert.ok(Math.abs(logHalfErfc(2 - 1e-12) - logHalfErfc(2)) < 1e-10)
})

const model = new ArrayRecord({ w: NdArray.from(new Float64Array(1)) })
const replying = (examples: number): ClientApp =>
  new ClientApp().train((message) =>
    message.reply(new RecordDict({ a: model, m: new MetricRecord({ 'num-examples': examples }) })),
  )

function wrapped(accountant: RdpAccountant, strategy: Strategy = new FedAvg({ fractionEvaluate: 0 })) {
  const options = { noiseMultiplier: 2, clippingNorm: 1, numSampledClients: 2, accountant }
  return new DifferentialPrivacyServerSideFixedClipping(strategy, options)
}

test('a run ends before the round that would exceed its budget, and says what was spent', async () => {
  lines = []
  const accountant = new RdpAccountant({ targetDelta: 1e-5, populationSize: 2, maxEpsilon: 4 })
  const strategy = wrapped(accountant)
  const run = strategy.start(new InMemoryGrid([{ app: replying(1) }, { app: replying(1) }]), model, { numRounds: 99 })
  await assert.rejects(run, {
    name: 'PrivacyBudgetExhaustedError',
    message: /would exceed maxEpsilon \(current epsilon: 3\.[0-9]+, delta: 0\.00001\)/,
  })
  const releases = accountant.numReleases
  assert.equal(accountant.wouldExceed({ noiseMultiplier: 2, sampleSize: 2 }), true)
  assert.ok(releases > 0 && accountant.epsilon() <= 4)
  assert.equal(strategy.privacySpent?.epsilon, accountant.epsilon())
  assert.ok(lines.includes('INFO :      \t├──> Privacy spent: epsilon=0.000000 at delta=1e-05\n'))
  assert.ok(lines.some((line) => line.endsWith(`at delta=1e-05 after ${releases} releases\n`)))
})

test('a budget ends the training before it is exceeded, with the model so far and what was spent in each round', async () => {
  lines = []
  const options = { noiseMultiplier: 2, clippingNorm: 1, numSampledClients: 2, budget: { epsilon: 4, delta: 1e-5 } }
  const inner = new FedAvg({ fractionEvaluate: 0 })
  const strategy = new DifferentialPrivacyServerSideFixedClipping(inner, options)
  const grid = new InMemoryGrid([{ app: replying(1) }, { app: replying(1) }])
  const { trainMetricsClientapp, arrays } = await strategy.start(grid, model, { numRounds: 99 })
  const spent = [...trainMetricsClientapp.values()].map((metrics) => metrics.getNumber('privacy-epsilon'))
  assert.ok(spent.length > 0 && spent.every((epsilon, index) => epsilon <= 4 && epsilon > (spent[index - 1] ?? 0)))
  assert.equal(strategy.privacySpent?.numReleases, spent.length)
  assert.notDeepEqual(arrays.getArray('w'), model.getArray('w'))
  assert.equal(trainMetricsClientapp.get(1)?.getNumber('privacy-delta'), 1e-5)
  assert.equal(trainMetricsClientapp.get(1)?.getNumber('privacy-epsilon-max'), 4)
  const shown = grid.progress.filter(({ phase, metrics }) => phase === 'train' && metrics)
  assert.deepEqual(
    shown.map(({ metrics }) => metrics?.['privacy-epsilon']),
    spent,
  )
  assert.match(
    lines.join(''),
    /ends before round \d+: the privacy budget of epsilon 4 at delta 0.00001 would be exceeded/,
  )
  const next = new RdpAccountant({ targetDelta: 1e-5, populationSize: 2 })
  next.compose({ noiseMultiplier: 2, sampleSize: 2 }, spent.length + 1)
  assert.ok(next.epsilon() > 4)
  assert.throws(
    () => new DifferentialPrivacyServerSideFixedClipping(inner, { ...options, accountant: next }),
    /set either accountant or budget/,
  )
  assert.throws(
    () => new DifferentialPrivacyServerSideFixedClipping(inner, { ...options, budget: { epsilon: 0, delta: 1e-5 } }),
    /budget.epsilon must be a number above 0/,
  )
})

test('what the accountant cannot account for is refused', async () => {
  const config = { targetDelta: 1e-5, populationSize: 10 }
  const uneven = new InMemoryGrid([{ app: replying(1) }, { app: replying(2) }])
  await assert.rejects(wrapped(new RdpAccountant(config)).start(uneven, model), /all replies must have the same weight/)
  const three = new InMemoryGrid([1, 2, 3].map(() => ({ app: replying(1) })))
  await assert.rejects(wrapped(new RdpAccountant(config)).start(three, model), /3 nodes were sampled/)
  const poisson = new RdpAccountant({ ...config, samplingMethod: 'poisson' })
  assert.throws(() => wrapped(poisson), /samplingMethod must be no-amplification or without-replacement/)
  const median = new FedMedian({ fractionEvaluate: 0 })
  assert.throws(() => wrapped(new RdpAccountant(config), median), /must aggregate as FedAvg does/)
  assert.throws(() => new RdpAccountant({ targetDelta: 0, populationSize: 1 }), /targetDelta must be a number above 0/)
})

const clipping = new ClientApp().train((message) =>
  message.reply(new RecordDict({ a: model, m: new MetricRecord({ 'num-examples': 1, norm_bit: 1 }) })),
)

test('a budget of adaptive clipping counts model and clipped share as one release, and hides the share', async () => {
  const options = { noiseMultiplier: 0.5, numSampledClients: 10, budget: { epsilon: 30, delta: 1e-5 } }
  for (const Wrapper of [
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyClientSideAdaptiveClipping,
  ]) {
    const strategy = new Wrapper(new FedAvg({ fractionEvaluate: 0, minTrainNodes: 10, minAvailableNodes: 10 }), options)
    const grid = new InMemoryGrid(Array.from({ length: 10 }, () => ({ app: clipping })))
    const { trainMetricsClientapp } = await strategy.start(grid, model, { numRounds: 99 })
    const expected = new RdpAccountant({ targetDelta: 1e-5, populationSize: 10 })
    expected.compose({ noiseMultiplier: 0.5, sampleSize: 10 }, trainMetricsClientapp.size)
    assert.equal(strategy.privacySpent?.epsilon, expected.epsilon())
    assert.ok(expected.epsilon() <= 30)
    expected.compose({ noiseMultiplier: 0.5, sampleSize: 10 })
    assert.ok(expected.epsilon() > 30, 'the training ended as late as it could')
    assert.deepEqual(
      [...(trainMetricsClientapp.get(1) ?? [])].map(([name]) => name),
      ['privacy-epsilon', 'privacy-epsilon-max', 'privacy-delta'],
    )
  }
})

const fixedSample = (budget: object, minAvailableNodes: number) =>
  new DifferentialPrivacyServerSideFixedClipping(
    new FedAvg({ fractionTrain: 0.01, fractionEvaluate: 0, minTrainNodes: 5, minAvailableNodes }),
    {
      noiseMultiplier: 2,
      clippingNorm: 1,
      numSampledClients: 5,
      budget: { epsilon: 9, delta: 1e-5, samplingMethod: 'without-replacement', ...budget },
    },
  )

test('a fixed sample is amplified by its share of the nodes, with half of the noise; without it, or if nodes are missing, it is refused', async () => {
  const grid = () => new InMemoryGrid(Array.from({ length: 50 }, () => ({ app: replying(1) })))
  const strategy = fixedSample({ populationSize: 50 }, 50)
  await strategy.start(grid(), model, { numRounds: 3 })
  const expected = new RdpAccountant({
    targetDelta: 1e-5,
    populationSize: 50,
    samplingMethod: 'without-replacement',
  })
  expected.compose({ noiseMultiplier: 1, sampleSize: 5 }, 3)
  assert.equal(strategy.privacySpent?.epsilon, expected.epsilon())
  const unsampled = new RdpAccountant({ targetDelta: 1e-5, populationSize: 50 })
  unsampled.compose({ noiseMultiplier: 1, sampleSize: 5 }, 3)
  assert.ok(expected.epsilon() < unsampled.epsilon())

  await assert.rejects(
    fixedSample({ populationSize: 51 }, 50).start(grid(), model),
    /sampled from 50, but .* populationSize 51: set minAvailableNodes/,
  )
  await assert.rejects(
    fixedSample({ populationSize: 50 }, 50).start(grid(), model, { select: all() }),
    /leave select out, or use no-amplification/,
  )
  assert.throws(() => fixedSample({}, 50), /needs budget\.populationSize/)
})

test('where a smaller epsilon rests on an unknown sample, the sample cannot be predicted from Math.random', async (t) => {
  const random = t.mock.method(Math, 'random', () => 0)
  const grid = () => new InMemoryGrid(Array.from({ length: 50 }, () => ({ app: replying(1) })))
  await fixedSample({ populationSize: 50 }, 50).start(grid(), model, { numRounds: 1 })
  assert.equal(random.mock.callCount(), 0)
  await fixedSample({ samplingMethod: 'no-amplification' }, 50).start(grid(), model, { numRounds: 1 })
  assert.notEqual(random.mock.callCount(), 0)
})
