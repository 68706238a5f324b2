import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, type ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { ClientApp } from '../client-app.ts'
import type { Grid } from '../grid.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { collect } from './reply-stream.ts'
import { type Aggregate, Strategy, type TrainPhase, type TrainRound } from './strategy.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
beforeEach(() => {
  lines = []
})

/** The model is the number of replies so far. */
class Counting extends Strategy {
  async configureTrain(_round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    const content = new RecordDict({ arrays, config })
    return (await grid.getNodeIds()).map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
  }
  async aggregateTrain({ round, replies }: TrainPhase): Promise<Aggregate> {
    return { arrays: modelOf(round * 100 + replies.size), metrics: new MetricRecord({ replies: replies.size }) }
  }
  async configureEvaluate(): Promise<Message[]> {
    return []
  }
  async aggregateEvaluate(): Promise<undefined> {}
  summary(): void {}
}

const modelOf = (value: number): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float32Array([value])) })
const weightOf = (arrays: ArrayRecord): number => arrays.getArray('w').values('float32')[0] as number
const echo = new ClientApp().train((message) => message.reply(message.content))
const stuck = new ClientApp().train(() => new Promise(() => {}))

test('a custom strategy decides which nodes are asked and how replies are aggregated', async () => {
  const result = await new Counting().start(new InMemoryGrid([{ app: echo }, { app: echo }]), modelOf(0))
  assert.equal(weightOf(result.arrays), 302)
  assert.deepEqual([...result.trainMetricsClientapp.keys()], [1, 2, 3])
  assert.ok(lines.includes('INFO :      Starting Counting strategy:\n'))
})

test('evaluation at the server sees the model before training and after each round', async () => {
  const seen: [number, number][] = []
  const result = await new Counting().start(new InMemoryGrid([{ app: echo }]), modelOf(7), {
    numRounds: 2,
    evaluateFn: async (round, arrays) => {
      seen.push([round, weightOf(arrays)])
      return round === 1 ? undefined : new MetricRecord({ accuracy: float(round / 2) })
    },
  })
  assert.deepEqual(seen, [
    [0, 7],
    [1, 101],
    [2, 201],
  ])
  assert.deepEqual([...result.evaluateMetricsServerapp.keys()], [0, 2])
  assert.match(result.toString(), /ServerApp-side Evaluate Metrics:\n\{0: .*'0\.0000e\+00'.*2: .*'1\.0000e\+00'/)
})

test('a follower of the run sees each step, with its metrics', async () => {
  const grid = new InMemoryGrid([{ app: echo }])
  await new Counting().start(grid, modelOf(0), {
    numRounds: 1,
    evaluateFn: () =>
      new MetricRecord({ accuracy: 0.5, 'per-class': [0.5, 0.5], loss: Number.NaN, 'num-examples': 10n }),
  })
  const at = { round: 1, rounds: 1 }
  assert.deepEqual(grid.progress, [
    { ...at, phase: 'configure' },
    { ...at, phase: 'train' },
    { ...at, phase: 'train', metrics: { replies: 1 } },
    { ...at, phase: 'round-end', metrics: { accuracy: 0.5, 'num-examples': 10 } },
  ])
})

/** Asks all nodes for their loss, and lets only the node with the largest loss train. */
class WorstFirst extends Counting {
  override async trainRound({ round, current, config, grid, ask }: TrainRound): Promise<Aggregate> {
    const questions = [...(await this.configureTrain(round, current, config.copy().set('stage', 'loss'), grid))]
    const [worst] = await (await ask(questions)).aggregated(async (replies) =>
      (await collect(replies)).toSorted((a, b) => lossOf(b) - lossOf(a)),
    )
    const orders = await this.configureTrain(round, current, config.copy().set('stage', 'train'), grid)
    const replies = await ask([...orders].filter(({ metadata }) => metadata.dstNodeId === worst?.metadata.srcNodeId))
    return replies.aggregated(async (held) => ({ arrays: (await collect(held))[0]?.content.arrays('arrays') }))
  }
}

const lossOf = ({ content }: Message): number => content.metrics('m').getNumber('loss')

test('a strategy may exchange messages with the nodes more than once in a round', async () => {
  const asked: string[] = []
  const nodeWith = (loss: number): ClientApp =>
    new ClientApp().train((message) => {
      const stage = message.content.config('config').getString('stage')
      asked.push(`${stage} ${loss}`)
      const content = stage === 'loss' ? { m: new MetricRecord({ loss }) } : { arrays: modelOf(loss) }
      return message.reply(new RecordDict(content))
    })
  const grid = new InMemoryGrid([1, 3, 2].map((loss) => ({ app: nodeWith(loss) })))
  const { arrays } = await new WorstFirst().start(grid, modelOf(0), { numRounds: 1 })
  assert.equal(weightOf(arrays), 3)
  assert.deepEqual(asked.toSorted(), ['loss 1', 'loss 2', 'loss 3', 'train 3'])
})

test('nodes that do not reply in time are named, and the round goes on without them', async () => {
  const grid = new InMemoryGrid([{ app: echo }, { app: stuck }])
  const result = await new Counting().start(grid, modelOf(0), { numRounds: 1, timeout: 0.05 })
  assert.equal(weightOf(result.arrays), 101)
  assert.ok(lines.includes('WARNING :   \t> No reply from 1 of 2 nodes (3) within 0.05 s\n'))
})

test('without a successful round the result holds the initial model', async () => {
  const result = await new Counting().start(new InMemoryGrid([]), modelOf(1), { numRounds: 0 })
  assert.equal(weightOf(result.arrays), 1)
})

test('a training stops early after the round in which shouldStop returns true', async () => {
  const seen: [number, number][] = []
  const result = await new Counting().start(new InMemoryGrid([{ app: echo }]), modelOf(1), {
    numRounds: 5,
    shouldStop: async (round, { arrays }) => {
      seen.push([round, weightOf(arrays)])
      return round === 2
    },
  })
  assert.deepEqual(seen, [
    [1, 101],
    [2, 201],
  ])
  assert.equal(weightOf(result.arrays), 201)
  assert.ok(lines.includes('INFO :      Stopping early after round 2\n'))
})

test('numbers of rounds and seconds that make no sense are refused with their name', async () => {
  const start = (options: Parameters<Strategy['start']>[2]) =>
    new Counting().start(new InMemoryGrid([]), modelOf(1), options)
  await assert.rejects(start({ numRounds: Number.NaN }), /numRounds must be a whole number of 0 or more, not NaN/)
  await assert.rejects(start({ numRounds: 1.5 }), /numRounds/)
  await assert.rejects(start({ numRounds: -1n }), /numRounds/)
  await assert.rejects(start({ timeout: 0 }), /timeout must be a number of seconds above 0 .*, not 0/)
})

test('what evaluation throws fails the run', async () => {
  const failing = new Counting().start(new InMemoryGrid([]), modelOf(1), {
    evaluateFn: () => {
      throw new Error('no test data')
    },
  })
  await assert.rejects(failing, /no test data/)
})

test('the initial model does not stay in memory for the rounds after the first', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  let initial: WeakRef<ArrayRecord> | undefined
  const held: boolean[] = []
  const start = (arrays: ArrayRecord): Promise<unknown> => {
    initial = new WeakRef(arrays)
    return new Counting().start(new InMemoryGrid([{ app: echo }]), arrays, {
      numRounds: 2,
      evaluateFn: async () => {
        // A reference that was made or read in this turn is kept until its end.
        await nextTurn()
        collectGarbage()
        held.push(initial?.deref() !== undefined)
        return undefined
      },
    })
  }
  await start(modelOf(0))
  assert.deepEqual([held[0], held[2]], [true, false])
})
