import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp } from '../client-app.ts'
import { type HeldReply, heldInMemory } from '../held-reply.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedAvg } from './fed-avg.ts'
import { FedDyn } from './fed-dyn.ts'
import { FedNova } from './fed-nova.ts'
import { GeometricMedian } from './geometric-median.ts'
import { Replies } from './reply-stream.ts'
import { Scaffold } from './scaffold.ts'
import { deltaPrefix, ScaffoldNode } from './scaffold-node.ts'
import type { Strategy } from './strategy.ts'

/** The formula of each paper computed by hand, and a property that the paper shows, on losses with known optima. */

mock.method(process.stderr, 'write', () => true)

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float64Array(values)) })
const valuesOf = (arrays: ArrayRecord): number[] => [...arrays.getArray('w').values('float64')]
const skipEvaluation = { fractionEvaluate: 0 } as const

/** A node that replies with the same model in each round. */
const replying = (values: readonly number[], metrics: Record<string, number> = {}): ClientApp =>
  new ClientApp().train((message) =>
    message.reply(new RecordDict({ a: modelOf(...values), m: new MetricRecord({ 'num-examples': 1, ...metrics }) })),
  )

async function trained(strategy: Strategy, apps: readonly ClientApp[], start: readonly number[], numRounds: number) {
  const grid = new InMemoryGrid(apps.map((app) => ({ app })))
  return valuesOf((await strategy.start(grid, modelOf(...start), { numRounds })).arrays)
}

function assertNear(actual: readonly number[], expected: readonly number[], tolerance = 1e-12): void {
  for (const [index, value] of expected.entries())
    assert.ok(Math.abs((actual[index] as number) - value) <= tolerance, `${actual} is not ${expected}`)
}

test('the geometric median makes the steps of Weiszfeld', async () => {
  const apps = [replying([0]), replying([1]), replying([5])]
  const strategy = new GeometricMedian({ ...skipEvaluation, iterations: 1 })
  // From the mean 2: weights 1/2, 1/1, 1/3, so that (0 / 2 + 1 / 1 + 5 / 3) / (1/2 + 1 + 1/3) = (8/3) / (11/6).
  assertNear(await trained(strategy, apps, [0], 1), [16 / 11])
})

test('a minority of wrong models moves the geometric median little, and the mean far', async () => {
  const good = [0, 1, 2, 3].map((step) => replying([1 + step / 100, 2 - step / 100]))
  const apps = [...good, replying([1e6, -1e6]), replying([Number.NaN, 0]), replying([-1e7, 0])]
  const [x, y] = (await trained(new GeometricMedian({ ...skipEvaluation, iterations: 40 }), apps, [0, 0], 1)) as [
    number,
    number,
  ]
  assert.ok(Math.hypot(x - 1, y - 2) < 0.1, `${x}, ${y}`)
  const mean = await trained(new FedAvg(skipEvaluation), [...good, replying([1e6, -1e6])], [0, 0], 1)
  assert.ok((mean[0] as number) > 1e5)
})

test('FedNova divides each update by the steps of its node', async () => {
  const apps = [replying([3], { 'local-steps': 1 }), replying([5], { 'local-steps': 4, 'num-examples': 3 })]
  // Shares 1/4 and 3/4, τ_eff = 1/4 + 3 = 13/4; x = 1 + 13/4 (1/4 * 2 / 1 + 3/4 * 4 / 4).
  assertNear(await trained(new FedNova(skipEvaluation), apps, [1], 1), [1 + (13 / 4) * (1 / 2 + 3 / 4)])
})

/** Gradient descent on (w - optimum)² / 2, with a number of steps of its own. */
function descending(optimum: number, steps: number): ClientApp {
  return new ClientApp().train((message) => {
    let [w] = valuesOf(message.content.arrays('arrays')) as [number]
    for (let step = 0; step < steps; step++) w -= 0.01 * (w - optimum)
    const metrics = new MetricRecord({ 'num-examples': 1, 'local-steps': steps })
    return message.reply(new RecordDict({ a: modelOf(w), m: metrics }))
  })
}

test('FedNova finds the optimum of all nodes although some make more steps; FedAvg does not', async () => {
  const apps = [descending(0, 1), descending(1, 20)]
  const [fair] = (await trained(new FedNova(skipEvaluation), apps, [0], 200)) as [number]
  const [biased] = (await trained(new FedAvg(skipEvaluation), apps, [0], 200)) as [number]
  assert.ok(Math.abs(fair - 0.5) < 0.03, String(fair))
  assert.ok(biased > 0.9, String(biased))
})

test('a reply without steps fails with its node and the remedy', async () => {
  const run = trained(new FedNova(skipEvaluation), [replying([1]), replying([1])], [0], 1)
  await assert.rejects(run, /node 2 has no metric 'local-steps' above 0: return the number of SGD steps/)
})

test('FedDyn moves its state and the model as in algorithm 1', async () => {
  const strategy = new FedDyn({ ...skipEvaluation, alpha: 0.5, numNodes: 4 })
  // h = -0.5 * 2/4 * (3 - 1) = -0.5, θ = 3 + 0.5 / 0.5 = 4; then h = -0.5 - 0.25 * (3 - 4) = -0.25, θ = 3.5.
  assertNear(await trained(strategy, [replying([2]), replying([4])], [1], 1), [4])
  const again = new FedDyn({ ...skipEvaluation, alpha: 0.5, numNodes: 4 })
  assertNear(await trained(again, [replying([2]), replying([4])], [1], 2), [3.5])
})

/** Minimises curvature / 2 (w - optimum)² exactly, with the terms of FedDyn if alpha is sent. */
function solving(curvature: number, optimum: number): ClientApp {
  return new ClientApp().train((message, context) => {
    const [received] = valuesOf(message.content.arrays('arrays')) as [number]
    const alpha = Number(message.content.config('config').get('feddyn-alpha') ?? 0)
    const [g] = context.state.has('g') ? (valuesOf(context.state.arrays('g')) as [number]) : [0]
    const w = (curvature * optimum + alpha * received + g) / (curvature + alpha)
    context.state.set('g', modelOf(g - alpha * (w - received)))
    return message.reply(new RecordDict({ a: modelOf(w), m: new MetricRecord({ 'num-examples': 1 }) }))
  })
}

test('FedDyn finds the optimum of all nodes although each solves its own problem; FedAvg does not', async () => {
  // The sum of both losses is least at (10 * 0 + 1 * 1) / 11.
  const apps = () => [solving(10, 0), solving(1, 1)]
  const [found] = (await trained(new FedDyn({ ...skipEvaluation, alpha: 1, numNodes: 2 }), apps(), [5], 100)) as [
    number,
  ]
  const [mean] = (await trained(new FedAvg(skipEvaluation), apps(), [5], 100)) as [number]
  assertNear([found, mean], [1 / 11, 1 / 2], 1e-6)
})

/** Two steps of gradient descent on curvature / 2 (w - optimum)², corrected if the server sends a control variate. */
function drifting(curvature: number, optimum: number, steps: number, learningRate: number): ClientApp {
  return new ClientApp().train((message, context) => {
    const node = message.content.has('scaffold-control') ? new ScaffoldNode(message, context) : undefined
    const [correction] = node ? [...node.correction('w').values('float64')] : [0]
    let [w] = valuesOf(message.content.arrays('arrays')) as [number]
    for (let step = 0; step < steps; step++) w -= learningRate * (curvature * (w - optimum) + (correction as number))
    const arrays = node ? node.reply(modelOf(w), { steps, learningRate }) : modelOf(w)
    return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': 1 }) }))
  })
}

test('SCAFFOLD moves model and control variates as in algorithm 1', async () => {
  const apps = [drifting(1, 0, 1, 0.5), drifting(1, 4, 1, 0.5)]
  // Round 1, from 2: gradients 2 and -2, y = 1 and 3, x = 2; c_i = 2 and -2; c = 0.
  // Round 2: corrections -2 and 2, so that both nodes stay at the optimum.
  assertNear(await trained(new Scaffold({ ...skipEvaluation, numNodes: 2 }), apps, [2], 1), [2])
  const grid = new InMemoryGrid(apps.map((app) => ({ app })))
  const strategy = new Scaffold({ ...skipEvaluation, numNodes: 4, serverLearningRate: 0.5 })
  const { arrays } = await strategy.start(grid, modelOf(6), { numRounds: 2 })
  // Round 1: gradients 6 and 2, y = 3 and 5, x = 6 + (4 - 6) / 2 = 5; c_i = 6 and 2, c = 2/4 * (6 + 2) / 2 = 2.
  // Round 2: gradients 5 + 2 - 6 = 1 and 1 + 2 - 2 = 1, y = 4.5, x = 5 - 0.25.
  assertNear(valuesOf(arrays), [4.75])
  const control = grid.sent.at(-1)?.content.arrays('scaffold-control') as ArrayRecord
  assertNear(valuesOf(control), [2])
})

test('SCAFFOLD finds the optimum of all nodes although their losses differ; FedAvg drifts', async () => {
  const apps = () => [drifting(10, 0, 20, 0.02), drifting(1, 1, 20, 0.02)]
  const scaffold = new Scaffold({ ...skipEvaluation, numNodes: 2 })
  assertNear(await trained(scaffold, apps(), [5], 400), [1 / 11], 1e-6)
  const [drifted] = (await trained(new FedAvg(skipEvaluation), apps(), [5], 400)) as [number]
  assert.ok(Math.abs(drifted - 1 / 11) > 0.05, String(drifted))
})

test('a node that does not take part in SCAFFOLD fails the run with the remedy', async () => {
  const run = trained(new Scaffold({ ...skipEvaluation, numNodes: 2 }), [replying([1]), replying([1])], [0], 1)
  await assert.rejects(run, /return what ScaffoldNode.reply makes/)
})

test('strategies that need sums of models fetch no reply as a whole', async () => {
  const replyWith = (arrays: Record<string, number>): HeldReply => {
    const named = Object.entries(arrays).map(
      ([name, value]) => [name, NdArray.from(new Float64Array([value]))] as const,
    )
    const metrics = new MetricRecord({ 'num-examples': 1, 'local-steps': 2 })
    const question = Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId: 1n })
    const reply = question.reply(new RecordDict({ a: new ArrayRecord(named), m: metrics }))
    return { ...heldInMemory(reply), load: () => assert.fail('a whole reply was fetched') }
  }
  const models = [replyWith({ w: 2 }), replyWith({ w: 4 })]
  const withDeltas = [replyWith({ w: 2, [`${deltaPrefix}w`]: 0 }), replyWith({ w: 4, [`${deltaPrefix}w`]: 0 })]
  const cases: [FedAvg, HeldReply[]][] = [
    [new FedAvg(skipEvaluation), models],
    [new FedNova(skipEvaluation), models],
    [new FedDyn({ ...skipEvaluation, numNodes: 2 }), models],
    [new Scaffold({ ...skipEvaluation, numNodes: 2 }), withDeltas],
  ]
  for (const [strategy, held] of cases) {
    const { arrays } = await strategy.aggregateTrain({ round: 1, replies: new Replies(held), current: modelOf(3) })
    assertNear(valuesOf(arrays as ArrayRecord), [3])
  }
})
