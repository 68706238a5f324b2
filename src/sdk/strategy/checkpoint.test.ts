import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { type Context, createContext } from '../../message/context.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { DifferentialPrivacyServerSideAdaptiveClipping } from '../privacy/dp-adaptive-clipping.ts'
import { DifferentialPrivacyServerSideFixedClipping } from '../privacy/dp-fixed-clipping.ts'
import { RdpAccountant } from '../privacy/rdp-accountant.ts'
import { seededRandom } from '../seeded-random.ts'
import { FedAdam } from './fed-adam.ts'
import { FedAvg } from './fed-avg.ts'
import { FedAvgM } from './fed-avg-m.ts'
import { FedDyn } from './fed-dyn.ts'
import { FedXgbCyclic } from './fed-xgb-cyclic.ts'
import { FedYogi } from './fed-yogi.ts'
import { Scaffold } from './scaffold.ts'
import { deltaPrefix } from './scaffold-node.ts'
import type { StartOptions } from './start-options.ts'
import type { Strategy } from './strategy.ts'

mock.method(process.stderr, 'write', () => true)
/** The order of nodes in FedXgbCyclic is by chance, and is part of its state. */
let random = seededRandom(1)
mock.method(Math, 'random', () => random())

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float64Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values('float64')]

/** Moves each number a part of the way to a target of the node. */
const app = new ClientApp().train((message, { nodeId }) => {
  const values = valuesOf(message.content.arrays('arrays'))
  const moved = values.map((value, index) => value + 0.1 * (Number(nodeId) + index - value))
  const arrays = new ArrayRecord([
    ...modelOf(...moved),
    ...(message.content.has('scaffold-control')
      ? [[`${deltaPrefix}w`, NdArray.from(new Float64Array([0.25, Number(nodeId)]))] as const]
      : []),
  ])
  const metrics = new MetricRecord({ 'num-examples': 1, loss: float(moved[0] as number), parts: [1, 2] })
  return message.reply(new RecordDict({ arrays, metrics }))
})

const contextOf = (state = new RecordDict()): Context => createContext({ state })
const newGrid = (): InMemoryGrid => new InMemoryGrid([{ app }, { app }, { app }], { clock: 'virtual' })
const accountant = (): RdpAccountant => new RdpAccountant({ targetDelta: 1e-5, populationSize: 100 })
const noFractions = { fractionEvaluate: 0 }
const dp = { noiseMultiplier: 1, numSampledClients: 3, gaussian: () => 0 }

const strategies: Record<string, () => Strategy> = {
  FedAvg: () => new FedAvg(noFractions),
  FedAvgM: () => new FedAvgM({ ...noFractions, serverMomentum: 0.9 }),
  FedAdam: () => new FedAdam(noFractions),
  FedYogi: () => new FedYogi(noFractions),
  FedDyn: () => new FedDyn({ ...noFractions, numNodes: 3 }),
  Scaffold: () => new Scaffold({ ...noFractions, numNodes: 3 }),
  FedXgbCyclic: () => new FedXgbCyclic(noFractions),
  'adaptive clipping around FedAdam': () =>
    new DifferentialPrivacyServerSideAdaptiveClipping(new FedAdam(noFractions), {
      ...dp,
      clippedCountStddev: 1,
      initialClippingNorm: 0.3,
    }),
  'fixed clipping with an accountant': () =>
    new DifferentialPrivacyServerSideFixedClipping(new FedAvg(noFractions), {
      ...dp,
      clippingNorm: 1,
      accountant: accountant(),
    }),
}

/** The state of a ServerApp whose process was lost in the middle of a round. */
async function stateAfter(rounds: number, strategy: Strategy): Promise<RecordDict> {
  const grid = newGrid()
  const onRound = (round: number): void => {
    if (round > rounds) throw new Error('the process was lost')
  }
  const options = { numRounds: 6, checkpoint: contextOf(), onRound }
  await assert.rejects(strategy.start(grid, modelOf(0, 5), options), /the process was lost/)
  return grid.saved as RecordDict
}

for (const [name, create] of Object.entries(strategies))
  test(`a training that goes on from a checkpoint ends with the same model: ${name}`, async () => {
    random = seededRandom(1)
    const whole = await create().start(newGrid(), modelOf(0, 5), { numRounds: 6 })
    random = seededRandom(1)
    const state = await stateAfter(3, create())
    random = seededRandom(7)
    const seen: number[] = []
    const strategy = create()
    const resumed = await strategy.start(newGrid(), modelOf(99, 99), {
      numRounds: 6,
      checkpoint: contextOf(state),
      onRound: (round) => void seen.push(round),
    })
    assert.deepEqual(seen, [4, 5, 6])
    assert.deepEqual(valuesOf(resumed.arrays), valuesOf(whole.arrays))
    assert.deepEqual(
      [...resumed.trainMetricsClientapp].map(([round, metrics]) => [round, metrics.toObject()]),
      [...whole.trainMetricsClientapp].map(([round, metrics]) => [round, metrics.toObject()]),
    )
    if (strategy instanceof DifferentialPrivacyServerSideFixedClipping)
      assert.equal(strategy.privacySpent?.numReleases, 6)
  })

test('a training that has ended is not repeated, and the second training of an app has its own checkpoint', async () => {
  const grid = newGrid()
  const app = async (context: Context, extra: StartOptions = {}): Promise<number[]> => {
    const rounds: number[] = []
    const options = { checkpoint: context, onRound: (round: number) => void rounds.push(round), ...extra }
    const { arrays } = await new FedAvg(noFractions).start(grid, modelOf(0, 5), { numRounds: 2, ...options })
    await new FedAvg(noFractions).start(grid, arrays, { numRounds: 3, ...options })
    return rounds
  }
  assert.deepEqual(await app(contextOf(), { shouldStop: (round) => round === 2 }), [1, 2, 1, 2])
  assert.deepEqual(await app(contextOf(grid.saved)), [])
})

test('the best model and what is known of nodes survive', async () => {
  const keepBest = { metric: 'loss', mode: 'min' } as const
  const grid = newGrid()
  await new FedAvg(noFractions).start(grid, modelOf(0, 5), { numRounds: 2, keepBest, checkpoint: contextOf() })
  let asked = 0
  const result = await new FedAvg(noFractions).start(newGrid(), modelOf(0, 5), {
    numRounds: 3,
    keepBest,
    checkpoint: contextOf(grid.saved),
    select: (nodes, _round, history) => {
      asked = history.of(2n).asked
      return nodes
    },
  })
  assert.equal(result.best?.round, 1)
  assert.equal(asked, 2)
})

test('a checkpoint of another strategy is refused', async () => {
  const state = await stateAfter(1, new FedAvg(noFractions))
  const start = new FedAdam(noFractions).start(newGrid(), modelOf(0, 5), { checkpoint: contextOf(state) })
  await assert.rejects(start, /The checkpoint is of the strategy FedAvg, not of FedAdam/)
})
