import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Message } from '../../src/message/message.ts'
import { ArrayRecord, type ConfigRecord, type MetricRecord } from '../../src/message/records.ts'
import type { Grid } from '../../src/sdk/grid.ts'
import * as sdk from '../../src/sdk/index.ts'
import { bitsOf, recordedNoise, recordsBits } from './run-bits.ts'
import {
  buildArray,
  buildRecord,
  buildRecords,
  type DescribedArray,
  type DescribedPairs,
  type DescribedRecords,
  readVectors,
} from './vectors.ts'

/** Every strategy over some rounds as Flower's Python package runs it, recorded by `make-vectors.py`. */
interface DescribedReply {
  readonly node: string
  readonly records?: DescribedRecords
  readonly error?: { readonly code: number; readonly reason: string }
}

type Options = Readonly<Record<string, unknown>>
type DescribedArrays = readonly (readonly [string, DescribedArray])[]

interface RunCase {
  readonly name: string
  readonly strategy: string
  readonly options: Options
  readonly inner?: readonly [strategy: string, options: Options]
  readonly common?: Options
  readonly num_rounds?: number
  readonly initial: DescribedArrays
  readonly train_config?: DescribedPairs
  readonly rounds: readonly (readonly DescribedReply[])[]
  readonly sent: readonly { nodes: readonly string[]; type: string; records: DescribedRecords }[]
  /** The initial model, and the one after each round. */
  readonly models: readonly DescribedArrays[]
  readonly metrics: readonly (readonly [round: string, DescribedPairs])[]
  readonly failure?: string
  readonly lines?: readonly (readonly [string, string])[]
}

for (const vector of readVectors<RunCase>('strategy-runs.jsonl'))
  test(`a run of ${vector.name} has the messages, bits and log lines of Python`, async () => {
    const lines: string[] = []
    const write = mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
    // Nodes are chosen in their order, as in Python.
    const random = mock.method(Math, 'random', () => 0)
    const grid = new RecordedGrid(vector.rounds)
    const models: ArrayRecord[] = []
    const run = runOf(vector, grid, models)
    try {
      if (vector.failure) await assert.rejects(run, failureOf(vector.failure))
      else
        assert.deepEqual(
          metricsOf(await run),
          vector.metrics.map(([round, pairs]) => [Number(round), wireOf(pairs)]),
        )
    } finally {
      write.mock.restore()
      random.mock.restore()
    }
    assert.deepEqual(
      models.map(bitsOf),
      vector.models.map((model) => bitsOf(recordOf(model))),
    )
    assert.deepEqual(
      grid.sent.map(sentBits),
      vector.sent.map(({ nodes, type, records }) => [nodes, type, recordsBits(buildRecords(records))]),
    )
    if (vector.lines)
      assert.deepEqual(
        lines.filter((line) => !isOurs(line)).map((line) => line.replace(/(finished) in [\d.]+s/, '$1')),
        vector.lines.map(([level, text]) => `${level} :${' '.repeat(10 - level.length)}${text}\n`),
      )
  })

/** Flower says nothing of nodes that did not reply. */
function isOurs(line: string): boolean {
  return /No reply from \d+ of \d+ nodes/.test(line)
}

/** How our errors say what Python's do: by the exit code that Flower has for them. */
function failureOf(failure: string): { flowerCode: number | undefined } {
  const codes: Readonly<Record<string, number>> = { AggregationError: 202, InconsistentMessageReplies: 200 }
  return { flowerCode: codes[failure] ?? 200 }
}

async function runOf(vector: RunCase, grid: Grid, models: ArrayRecord[]): Promise<sdk.Result> {
  const strategy = vector.inner
    ? build(vector.strategy, { ...vector.options, gaussian: recordedNoise() }, build(...vector.inner))
    : build(vector.strategy, vector.options, undefined, vector.common)
  return strategy.start(grid, recordOf(vector.initial), {
    numRounds: vector.num_rounds ?? vector.rounds.length,
    ...(vector.train_config ? { trainConfig: buildRecord({ config: vector.train_config }) as ConfigRecord } : {}),
    evaluateFn: (_round, arrays) => {
      models.push(arrays)
      return undefined
    },
  })
}

const exported = new Map<string, unknown>(Object.entries(sdk))

function build(
  name: string,
  options: Options,
  inner?: sdk.Strategy,
  common: Options = { fraction_evaluate: 0 },
): sdk.Strategy {
  const named = Object.entries(inner ? options : { ...common, ...options }).map(([key, value]) => [
    key.replace(/_(\w)/g, (_, c) => c.toUpperCase()),
    value,
  ])
  const Class = exported.get(name) as new (...args: unknown[]) => sdk.Strategy
  return inner ? new Class(inner, Object.fromEntries(named)) : new Class(Object.fromEntries(named))
}

class RecordedGrid implements Grid {
  readonly runId = 1n
  readonly sent: Message[][] = []
  readonly #nodes: bigint[]
  readonly #rounds: Iterator<readonly DescribedReply[]>

  constructor(rounds: readonly (readonly DescribedReply[])[]) {
    this.#nodes = [...new Set(rounds.flat().map(({ node }) => BigInt(node)))]
    this.#rounds = rounds.values()
  }
  async getNodeIds(): Promise<bigint[]> {
    return this.#nodes
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
  async sendAndReceive(messages: Iterable<Message>): Promise<Message[]> {
    this.sent.push([...messages].sort((a, b) => Number(a.metadata.dstNodeId - b.metadata.dstNodeId)))
    return (this.#rounds.next().value as readonly DescribedReply[]).map(replyOf)
  }
  async saveState(): Promise<void> {}

  reportProgress(): void {}
}

function replyOf({ node, records, error }: DescribedReply): Message {
  const asked = Message.create({ content: buildRecords([]), messageType: 'train', dstNodeId: BigInt(node) })
  return error ? asked.replyError(error) : asked.reply(buildRecords(records ?? []))
}

function recordOf(arrays: DescribedArrays): ArrayRecord {
  return new ArrayRecord(arrays.map(([name, array]) => [name, buildArray(array)] as const))
}

function metricsOf({ trainMetricsClientapp }: sdk.Result): unknown {
  return [...trainMetricsClientapp].map(([round, metrics]) => [round, [...metrics.wireEntries()]])
}

function wireOf(pairs: DescribedPairs): unknown {
  return [...(buildRecord({ metrics: pairs }) as MetricRecord).wireEntries()]
}

function sentBits(messages: readonly Message[]): unknown {
  const [{ metadata, content } = {} as Message] = messages
  return [messages.map((message) => String(message.metadata.dstNodeId)), metadata.messageType, recordsBits(content)]
}
