import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Message } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, type ConfigRecord, type MetricRecord } from '../../src/message/records.ts'
import type { Grid } from '../../src/sdk/grid.ts'
import { FedAvg } from '../../src/sdk/strategy/fed-avg.ts'
import { Replies } from '../../src/sdk/strategy/reply-stream.ts'
import { buildRecord, buildRecords, type DescribedPairs, type DescribedRecords, readVectors } from './vectors.ts'

/** FedAvg as Flower's Python package does it (1.29 and 1.41 alike), recorded by `make-vectors.py`. */
interface DescribedReply {
  readonly node: string
  readonly records?: DescribedRecords
  readonly error?: { readonly code: number; readonly reason: string }
}

interface AggregationCase {
  readonly name: string
  readonly replies: readonly DescribedReply[]
  readonly arrays: readonly (readonly [string, { dtype: string; shape: readonly number[]; npy: string }])[]
  readonly metrics: DescribedPairs
}

interface LogCase {
  readonly name: string
  readonly options: Readonly<Record<string, number>>
  readonly num_rounds: number
  readonly train_config: DescribedPairs | null
  readonly rounds: readonly (readonly DescribedReply[])[]
  readonly evaluations: readonly (DescribedPairs | null)[] | null
  readonly lines: readonly (readonly [string, string])[]
}

for (const vector of readVectors<AggregationCase>('aggregations.jsonl'))
  test(`the mean of ${vector.name} is Python’s, to the bit`, async (t) => {
    t.mock.method(process.stderr, 'write', () => true)
    const replies = vector.replies.map(replyOf)
    for (const inSomeOrder of [replies, replies.toReversed()]) {
      const { arrays, metrics } = await new FedAvg().aggregateTrain({
        round: 1,
        replies: Replies.of(inSomeOrder),
        current: new ArrayRecord(),
      })
      assert.deepEqual(
        [...(arrays ?? [])].map(([name, array]) => [name, array.dtype, array.shape, withOneNaN(array)]),
        vector.arrays.map(([name, { dtype, shape, npy }]) => {
          const data = Buffer.from(npy, 'base64')
          return [name, dtype, shape, withOneNaN(new NdArray({ dtype, shape, stype: 'numpy.ndarray', data }))]
        }),
      )
      assert.deepEqual([...(metrics?.wireEntries() ?? [])], [...metricsOf(vector.metrics).wireEntries()])
    }
  })

for (const vector of readVectors<LogCase>('strategy-logs.jsonl'))
  test(`a run logs what Python logs: ${vector.name}`, async () => {
    const lines: string[] = []
    const write = mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
    try {
      await runOf(vector)
    } finally {
      write.mock.restore()
    }
    const expected = vector.lines.map(
      ([level, text]) =>
        `${level} :${' '.repeat(9 - level.length)}${' '}${vector.options.fraction_train === 0 ? withInitialModel(text) : text}\n`,
    )
    assert.deepEqual(
      lines.filter((line) => !isOurs(line)).map((line) => line.replace(/(finished) in [\d.]+s/, '$1')),
      expected,
    )
  })

/** The result of a run without training is empty up to Flower 1.42; since 1.43, and here, it is the initial model. */
function withInitialModel(text: string): string {
  return text.replace('\t\tArrayRecord (0.000 MB)', '\t\tArrayRecord (0.019 MB)')
}

/** Flower says nothing of nodes that did not reply, in one round or in several: which those are is drawn here. */
function isOurs(line: string): boolean {
  return /No reply from \d+ of \d+ nodes|was late in \d+ rounds in a row/.test(line)
}

async function runOf(vector: LogCase): Promise<void> {
  const { options } = vector
  const evaluations = vector.evaluations?.values()
  const strategy = new FedAvg({
    fractionTrain: options.fraction_train ?? 1,
    fractionEvaluate: options.fraction_evaluate ?? 1,
    minAvailableNodes: options.min_available_nodes ?? 2,
  })
  const model = new ArrayRecord({ w: NdArray.from(new Float32Array(5000), [50, 100]) })
  await strategy.start(new RecordedGrid(vector.rounds), model, {
    numRounds: vector.num_rounds,
    ...(vector.train_config ? { trainConfig: buildRecord({ config: vector.train_config }) as ConfigRecord } : {}),
    ...(evaluations
      ? {
          evaluateFn: () => {
            const described = evaluations.next().value
            return described ? metricsOf(described) : undefined
          },
        }
      : {}),
  })
}

class RecordedGrid implements Grid {
  readonly runId = 1n
  readonly #phases: Iterator<readonly DescribedReply[]>
  constructor(phases: readonly (readonly DescribedReply[])[]) {
    this.#phases = phases.values()
  }
  async getNodeIds(): Promise<bigint[]> {
    return [2n, 3n, 4n]
  }
  async getNodes(): Promise<[]> {
    return []
  }
  async pushMessages(): Promise<undefined[]> {
    return []
  }
  async pullMessages(): Promise<Message[]> {
    return []
  }
  async sendAndReceive(): Promise<Message[]> {
    return (this.#phases.next().value as readonly DescribedReply[]).map(replyOf)
  }
  async saveState(): Promise<void> {}

  reportProgress(): void {}
}

function replyOf({ node, records, error }: DescribedReply): Message {
  const asked = Message.create({ content: buildRecords([]), messageType: 'train', dstNodeId: BigInt(node) })
  return error ? asked.replyError(error) : asked.reply(buildRecords(records ?? []))
}

function metricsOf(pairs: DescribedPairs): MetricRecord {
  return buildRecord({ metrics: pairs }) as MetricRecord
}

/** Header and values; which of the many NaNs an array holds is the machine's choice. */
function withOneNaN(array: NdArray): unknown {
  const { values, ...layout } = array.stored()
  const header = Buffer.from(array.data)
    .subarray(0, array.data.length - values.byteLength)
    .toString('latin1')
  return { header, values, layout }
}
